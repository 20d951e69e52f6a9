-- Promises: what a payment provider tells of a booking is on record once, with what became of it; it is never refused,
-- for the provider would only repeat it: money that came for a place that is gone is an outcome to look for.
-- Called by POST /v1/payment-events/stripe. Locks: slot, booking, then its jobs.
CREATE OR REPLACE FUNCTION record_payment_event(
  p_actor jsonb,
  p_event_id text,
  p_event_type text,
  p_booking_id uuid,
  p_payment_status text,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_event payment_events;
  v_booking bookings;
  v_outcome text := 'recorded';
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  BEGIN
    v_booking := lock_booking(p_actor, p_booking_id);
  EXCEPTION
    WHEN SQLSTATE 'SB005' THEN
      v_outcome := 'booking_not_found';
  END;
  SELECT * INTO v_event FROM payment_events e WHERE e.id = p_event_id;
  IF FOUND THEN
    RETURN payment_event_json(v_event);
  END IF;

  IF p_payment_status IS NULL THEN
    v_outcome := 'ignored';
  ELSIF v_booking.payment_status = p_payment_status OR (v_booking.payment_status, p_payment_status) = ('refunded', 'paid') THEN
    -- a provider tells of one payment more than once, and not in order
    v_outcome := 'unchanged';
  ELSIF v_booking.id IS NOT NULL THEN
    BEGIN
      PERFORM record_payment(p_actor, p_booking_id, v_booking.version, p_payment_status, p_now => p_now);
    EXCEPTION
      WHEN SQLSTATE 'SB007' OR SQLSTATE 'SB013' THEN
        v_outcome := SQLERRM;
    END;
  END IF;

  INSERT INTO payment_events AS e (id, event_type, booking_id, payment_status, outcome, created_at)
  VALUES (p_event_id, p_event_type, p_booking_id, p_payment_status, v_outcome, p_now)
  ON CONFLICT (id) DO UPDATE SET id = e.id
  RETURNING * INTO v_event;
  RETURN payment_event_json(v_event);
END
$$
