-- Promises: returns only if the booking's payment may take this step: pending to paid or failed, paid to refunded; and
-- never paid for a booking that is over without one. Called by record_payment. Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION require_payment_step(p_booking bookings, p_to text)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_allowed boolean := CASE p_to
    WHEN 'paid' THEN p_booking.payment_status = 'pending' AND p_booking.status NOT IN ('cancelled', 'failed')
    WHEN 'failed' THEN p_booking.payment_status = 'pending' AND p_booking.status = 'pending'
      AND p_booking.payment_method = 'pay_now'
    WHEN 'refunded' THEN p_booking.payment_status = 'paid' AND p_booking.payment_method = 'pay_now'
    ELSE false
  END;
BEGIN
  IF NOT v_allowed THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object(
        'booking_id', p_booking.id, 'status', p_booking.status, 'payment_method', p_booking.payment_method,
        'from', p_booking.payment_status, 'to', p_to
      );
  END IF;
END
$$
