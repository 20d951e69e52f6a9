-- Promises: the booking's row, locked after its slot's, so that every writer takes them in the same order.
-- Called by every function that changes one booking. Locks: slot, booking. Raises: SB005 booking_not_found,
-- SB006 version_conflict (the booking moved to another slot while we waited).
CREATE OR REPLACE FUNCTION lock_booking(p_booking_id uuid)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot_id uuid;
  v_booking bookings;
BEGIN
  SELECT b.slot_id INTO v_slot_id FROM bookings b WHERE b.id = p_booking_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'booking_not_found' USING ERRCODE = 'SB005',
      DETAIL = json_build_object('booking_id', p_booking_id);
  END IF;

  PERFORM FROM slots s WHERE s.id = v_slot_id FOR NO KEY UPDATE;
  SELECT * INTO v_booking FROM bookings b WHERE b.id = p_booking_id FOR NO KEY UPDATE;
  IF v_booking.slot_id <> v_slot_id THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('booking_id', p_booking_id, 'current_version', v_booking.version);
  END IF;
  RETURN v_booking;
END
$$
