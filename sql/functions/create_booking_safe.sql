-- Promises: a booking is made only while its slot has room, and only once per idempotency key.
-- Called by POST /v1/bookings. Locks: slot, customer (if it changes), then the new booking and its job.
-- Raises: SB001 slot_not_found, SB010 idempotency_conflict, what book_slot raises. A refusal leaves nothing behind.
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
  v_customer jsonb := own_customer(p_actor, p_customer);
  v_slot slots;
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_slot := lock_slot(p_slot_id);

  body := replay_request(p_actor ->> 'id', 'create_booking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    v_booking := book_slot(p_actor, v_slot, v_customer, p_units, p_payment_method, p_metadata, p_now);
    body := booking_json(v_booking, v_customer ->> 'ref');
    PERFORM remember_request(p_actor ->> 'id', 'create_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$
