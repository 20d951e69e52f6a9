-- Promises: holds of one slot whose time is over give their places back now, whether or not a sweep has run.
-- Called by create_booking_safe when a slot looks full. Locks: bookings (the caller holds the slot).
CREATE OR REPLACE FUNCTION expire_slot_holds(p_slot_id uuid, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_expired integer;
BEGIN
  UPDATE bookings b
  SET status = 'expired', updated_at = p_now
  WHERE b.slot_id = p_slot_id AND b.status = 'pending' AND b.expires_at <= p_now;
  GET DIAGNOSTICS v_expired = ROW_COUNT;
  RETURN v_expired;
END
$$
