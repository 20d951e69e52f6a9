-- Promises: a booking is made only while its slot has room, and only once per idempotency key.
-- Called by POST /v1/bookings. Locks: slot, customer (if it changes), then the new booking and its job.
-- Raises: SB001 slot_not_found, SB002 slot_full, SB003 slot_closed, SB004 slot_in_past, SB008 insufficient_units,
-- SB010 idempotency_conflict. A refusal leaves nothing behind.
CREATE OR REPLACE FUNCTION create_booking_safe(
  p_actor jsonb,
  p_slot_id uuid,
  p_customer jsonb,
  p_units integer DEFAULT 1,
  p_payment_method text DEFAULT 'pay_on_arrival',
  p_metadata jsonb DEFAULT '{}',
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (booking_id uuid, booking_version integer, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot slots;
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);

  -- NO KEY: the foreign key checks of other writers need not wait for us
  SELECT * INTO v_slot FROM slots s WHERE s.id = p_slot_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'slot_not_found' USING ERRCODE = 'SB001', DETAIL = json_build_object('slot_id', p_slot_id);
  END IF;

  IF p_idempotency_key IS NOT NULL THEN
    body := replay_request(p_actor ->> 'id', 'create_booking', p_idempotency_key, p_request_hash);
    IF body IS NOT NULL THEN
      RETURN QUERY SELECT (body ->> 'id')::uuid, (body ->> 'version')::integer, body, true;
      RETURN;
    END IF;
  END IF;

  PERFORM require_open_slot(v_slot, p_now);
  PERFORM require_room(v_slot, p_units, p_now);

  INSERT INTO bookings (
    resource_id, slot_id, starts_at, ends_at, customer_id, units, payment_method, metadata,
    status, expires_at, created_at, placed_at, updated_at
  )
  VALUES (
    v_slot.resource_id, v_slot.id, v_slot.starts_at, v_slot.ends_at, upsert_customer(p_customer, p_now),
    p_units, p_payment_method, p_metadata,
    CASE p_payment_method WHEN 'pay_now' THEN 'pending' ELSE 'confirmed' END,
    CASE p_payment_method WHEN 'pay_now' THEN
      (SELECT p_now + make_interval(mins => r.hold_minutes) FROM resources r WHERE r.id = v_slot.resource_id)
    END,
    p_now, p_now, p_now
  )
  RETURNING * INTO v_booking;

  body := booking_json(v_booking, p_customer ->> 'ref');
  IF p_idempotency_key IS NOT NULL THEN
    PERFORM remember_request(p_actor ->> 'id', 'create_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;
  RETURN QUERY SELECT v_booking.id, v_booking.version, body, false;
END
$$
