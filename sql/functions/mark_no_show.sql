-- Promises: a booking whose slot has begun is on record as a no-show, or nothing changed.
-- Called by POST /v1/bookings/{id}/no-show. Locks: slot, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict, SB014 too_early.
CREATE OR REPLACE FUNCTION mark_no_show(
  p_actor jsonb,
  p_booking_id uuid,
  p_version integer,
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
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', (p_actor || jsonb_build_object('reason', p_reason))::text, true);
  v_booking := lock_booking(p_actor, p_booking_id);

  body := replay_request(p_actor ->> 'id', 'mark_no_show', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_transition(p_booking_id, v_booking.status, 'no_show');
    IF v_booking.starts_at > p_now THEN
      RAISE EXCEPTION 'too_early' USING ERRCODE = 'SB014',
        DETAIL = json_build_object('booking_id', p_booking_id, 'starts_at', v_booking.starts_at);
    END IF;

    UPDATE bookings b
    SET status = 'no_show', updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'mark_no_show', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$
