-- Promises: returns only if booking_transitions lists this step. Staying put is not a step.
-- Called by bookings_guard_update for every writer, and by entry functions that must refuse a repeat.
-- Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION require_transition(p_booking_id uuid, p_from text, p_to text)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM FROM booking_transitions t WHERE t.from_status = p_from AND t.to_status = p_to;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object('booking_id', p_booking_id, 'from', p_from, 'to', p_to);
  END IF;
END
$$
