-- Promises: returns only if the caller has seen the booking as it is now. Called by every function that changes one.
-- Raises: SB006 version_conflict.
CREATE OR REPLACE FUNCTION require_version(p_booking bookings, p_version integer)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_booking.version <> p_version THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('booking_id', p_booking.id, 'current_version', p_booking.version);
  END IF;
END
$$
