-- Promises: returns only if the locked slot has more places than prebookings are owed whose opening has come, and which
-- wait to be run: they go first. After ten minutes nobody waits for them any more: whoever should run them is not there.
-- Called by every function that takes a place for a newcomer. Raises: SB011 not_open_yet, but not for an admin who gives
-- a reason.
CREATE OR REPLACE FUNCTION require_turn(p_actor jsonb, p_slot slots, p_units integer, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_owed record;
BEGIN
  SELECT count(*) AS bookings, sum(p.units) AS units, min(p.opens_at) AS opens_at INTO v_owed
  FROM prebookings p
  WHERE p.resource_id = p_slot.resource_id AND p.status = 'pending'
    AND p.opens_at <= p_now AND p.opens_at > p_now - interval '10 minutes'
    AND p_slot.starts_at = ANY (p.starts_at);
  IF v_owed.bookings > 0 AND NOT may_override(p_actor) AND (
    p_slot.booked_bookings + v_owed.bookings + 1 > p_slot.max_bookings
    OR p_slot.booked_units + v_owed.units + p_units > p_slot.max_units
  ) THEN
    RAISE EXCEPTION 'not_open_yet' USING ERRCODE = 'SB011',
      DETAIL = json_build_object('slot_id', p_slot.id, 'opens_at', v_owed.opens_at, 'prebookings_ahead', v_owed.bookings);
  END IF;
END
$$
