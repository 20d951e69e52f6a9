-- Promises: returns only if the booking may still go to another slot. Called by reschedule_booking.
-- Raises: SB007 invalid_transition, SB013 hold_expired.
CREATE OR REPLACE FUNCTION require_movable(p_booking bookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_booking.status NOT IN ('pending', 'confirmed') THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object('booking_id', p_booking.id, 'from', p_booking.status, 'to', 'rescheduled');
  END IF;
  IF p_booking.status = 'pending' AND p_booking.expires_at <= p_now THEN
    RAISE EXCEPTION 'hold_expired' USING ERRCODE = 'SB013',
      DETAIL = json_build_object('booking_id', p_booking.id, 'expired_at', p_booking.expires_at);
  END IF;
END
$$
