-- Promises: the booking has its place in the new slot and no other, under the same id, or nothing changed.
-- Called by POST /v1/bookings/{id}/reschedule. Locks: both slots by id, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict,
-- SB001 slot_not_found, SB013 hold_expired, SB015 too_late, what require_open_slot, require_turn, require_room and
-- require_customer_limit raise.
CREATE OR REPLACE FUNCTION reschedule_booking(
  p_actor jsonb,
  p_booking_id uuid,
  p_version integer,
  p_slot_id uuid,
  p_reason text DEFAULT NULL,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (booking_id uuid, booking_version integer, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_actor jsonb := p_actor || jsonb_build_object('reason', p_reason);
  v_booking bookings;
  v_slot slots;
BEGIN
  PERFORM set_config('holdfast.actor', v_actor::text, true);
  v_booking := lock_booking(p_actor, p_booking_id, p_slot_id);
  v_slot := lock_slot(p_slot_id);

  body := replay_request(p_actor ->> 'id', 'reschedule_booking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_movable(v_booking, p_now);
    PERFORM require_before_cutoff(v_actor, v_booking, p_now);
    PERFORM require_open_slot(v_actor, v_slot, p_now);
    IF v_slot.id <> v_booking.slot_id THEN
      PERFORM require_turn(v_actor, v_slot, v_booking.units, p_now);
      PERFORM require_room(v_slot, v_booking.units, 1, p_now);
    END IF;
    IF v_slot.resource_id <> v_booking.resource_id THEN
      PERFORM require_customer_limit(v_actor, v_slot.resource_id, v_booking.customer_id, p_now);
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
