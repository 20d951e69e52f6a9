-- Promises: returns only if the locked slot has room for that many more bookings of that many units together.
-- Called by every function that takes a place. Locks: bookings whose hold is over (the caller holds the slot).
-- Raises: SB002 slot_full, SB008 insufficient_units. The slot's CHECK is the second barrier, for every other writer.
CREATE OR REPLACE FUNCTION require_room(
  p_slot slots, p_units integer, p_bookings integer DEFAULT 1, p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_bookings_left integer := p_slot.max_bookings - p_slot.booked_bookings;
  v_units_left integer := p_slot.max_units - p_slot.booked_units;  -- NULL: units are not limited
  v_is_full boolean := v_bookings_left < p_bookings OR COALESCE(v_units_left <= 0, false);
  v_slot slots;
BEGIN
  IF NOT v_is_full AND p_units <= COALESCE(v_units_left, p_units) THEN
    RETURN;
  END IF;

  IF expire_slot_holds(p_slot.id, p_now) > 0 THEN
    SELECT * INTO v_slot FROM slots s WHERE s.id = p_slot.id;
    PERFORM require_room(v_slot, p_units, p_bookings, p_now);
    RETURN;
  END IF;

  RAISE EXCEPTION '%', CASE WHEN v_is_full THEN 'slot_full' ELSE 'insufficient_units' END
    USING ERRCODE = CASE WHEN v_is_full THEN 'SB002' ELSE 'SB008' END,
    DETAIL = json_build_object(
      'slot_id', p_slot.id, 'starts_at', p_slot.starts_at,
      'remaining_bookings', v_bookings_left, 'remaining_units', v_units_left
    );
END
$$
