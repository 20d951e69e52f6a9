-- Promises: the booking has its place in the new slot and no other, under the same id, or nothing changed.
-- Called by POST /v1/bookings/{id}/reschedule. Locks: both slots by id, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict,
-- SB001 slot_not_found, SB002 slot_full, SB003 slot_closed, SB004 slot_in_past, SB008 insufficient_units.
CREATE OR REPLACE FUNCTION reschedule_booking(
  p_actor jsonb,
  p_booking_id uuid,
  p_version integer,
  p_slot_id uuid,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (booking_id uuid, booking_version integer, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
  v_slot slots;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- both, in the order of their ids, before anything else: two moves that cross cannot deadlock
  PERFORM FROM slots s
  WHERE s.id IN (p_slot_id, (SELECT b.slot_id FROM bookings b WHERE b.id = p_booking_id))
  ORDER BY s.id
  FOR NO KEY UPDATE;
  v_booking := lock_booking(p_booking_id);
  v_slot := lock_slot(p_slot_id);

  body := replay_request(p_actor ->> 'id', 'reschedule_booking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_movable(v_booking, p_now);
    PERFORM require_open_slot(v_slot, p_now);
    IF v_slot.id <> v_booking.slot_id THEN
      PERFORM require_room(v_slot, v_booking.units, p_now);
    END IF;

    UPDATE bookings b
    SET slot_id = v_slot.id,
        resource_id = v_slot.resource_id,
        starts_at = v_slot.starts_at,
        ends_at = v_slot.ends_at,
        placed_at = p_now,
        updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'reschedule_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$
