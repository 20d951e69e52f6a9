-- Promises: what the payment came to is on record, and the booking where that leads: paid confirms a hold, failed
-- ends it.
-- Called by POST /v1/bookings/{id}/payment. Locks: slot, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict,
-- SB013 hold_expired.
CREATE OR REPLACE FUNCTION record_payment(
  p_actor jsonb,
  p_booking_id uuid,
  p_version integer,
  p_payment_status text,
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
  v_status text;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_booking := lock_booking(p_actor, p_booking_id);

  body := replay_request(p_actor ->> 'id', 'record_payment', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_payment_step(v_booking, p_payment_status);
    v_status := CASE
      WHEN p_payment_status = 'paid' AND v_booking.status IN ('pending', 'expired') THEN 'confirmed'
      WHEN p_payment_status = 'failed' THEN 'failed'
      ELSE v_booking.status
    END;
    IF v_status = 'confirmed' THEN
      PERFORM require_place(v_booking, p_now);
    END IF;

    UPDATE bookings b
    SET status = v_status,
        payment_status = p_payment_status,
        updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'record_payment', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$
