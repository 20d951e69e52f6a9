-- Promises: the booking's row, locked after its slot's, so that every writer takes them in the same order; and after the
-- slot it is to go to, if one is given, both in the order of their ids: two moves that cross cannot deadlock.
-- Called by every function that changes one booking. Locks: slots by id, booking.
-- Raises: SB005 booking_not_found (also where it is not the customer's whose token it is), SB006 version_conflict (the
-- booking moved to another slot while we waited).
CREATE OR REPLACE FUNCTION lock_booking(p_actor jsonb, p_booking_id uuid, p_next_slot_id uuid DEFAULT NULL)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot_id uuid;
  v_booking bookings;
BEGIN
  SELECT b.slot_id INTO v_slot_id
  FROM bookings b
  JOIN customers c ON c.id = b.customer_id
  WHERE b.id = p_booking_id AND COALESCE(c.ref = p_actor ->> 'customer_ref', p_actor ->> 'customer_ref' IS NULL);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'booking_not_found' USING ERRCODE = 'SB005',
      DETAIL = json_build_object('booking_id', p_booking_id);
  END IF;

  PERFORM FROM slots s WHERE s.id IN (v_slot_id, p_next_slot_id) ORDER BY s.id FOR NO KEY UPDATE;
  SELECT * INTO v_booking FROM bookings b WHERE b.id = p_booking_id FOR NO KEY UPDATE;
  IF v_booking.slot_id <> v_slot_id THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('booking_id', p_booking_id, 'current_version', v_booking.version);
  END IF;
  RETURN v_booking;
END
$$
