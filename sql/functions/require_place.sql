-- Promises: returns only if the booking has its place still, or may take it again: a hold whose time was over before
-- the money came is good if nobody took its place meanwhile. Called by record_payment and confirm_booking.
-- Locks: bookings whose hold is over (the caller holds the slot). Raises: SB013 hold_expired.
CREATE OR REPLACE FUNCTION require_place(p_booking bookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- who had the place once is no newcomer: neither notice nor window binds
  c_insider CONSTANT jsonb := jsonb_build_object('type', 'admin', 'reason', 'had the place');
BEGIN
  IF NOT p_booking.holds_place THEN
    PERFORM require_open_slot(c_insider, s, p_now), require_room(s, p_booking.units, 1, p_now)
    FROM slots s
    WHERE s.id = p_booking.slot_id;
  END IF;
EXCEPTION
  WHEN SQLSTATE 'SB002' OR SQLSTATE 'SB003' OR SQLSTATE 'SB004' OR SQLSTATE 'SB008' THEN
    RAISE EXCEPTION 'hold_expired' USING ERRCODE = 'SB013',
      DETAIL = json_build_object(
        'booking_id', p_booking.id, 'slot_id', p_booking.slot_id, 'expired_at', p_booking.updated_at, 'reason', SQLERRM
      );
END
$$
