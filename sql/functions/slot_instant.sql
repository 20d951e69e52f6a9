-- Promises: the instant at which a slot of that length starts, for its wall-clock time in a zone. NULL where the clocks
-- skip any of it; of times that come twice the first, unless the slot would then reach back before its own start.
-- Called by schedule_slots and recurring_slots. Every slot lasts p_length, and shows only wall-clock times of its own.
CREATE OR REPLACE FUNCTION slot_instant(p_wall timestamp, p_length interval, p_timezone text)
RETURNS timestamptz
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  -- 24 hours, not a day: a day is as long as the session's own zone says
  c_day CONSTANT interval := interval '24 hours';
  c_tick CONSTANT interval := interval '1 microsecond';
  -- of a time that comes twice Postgres takes the second
  v_later timestamptz := p_wall AT TIME ZONE p_timezone;
  v_before timestamptz := v_later - c_day;
  v_earlier timestamptz;
BEGIN
  -- nearly always: no clock changes within a day
  IF v_before AT TIME ZONE p_timezone = p_wall - c_day AND (v_later + c_day) AT TIME ZONE p_timezone = p_wall + c_day THEN
    RETURN v_later;
  END IF;

  IF v_later AT TIME ZONE p_timezone <> p_wall THEN
    RETURN NULL;
  END IF;
  v_earlier := (p_wall - (v_before AT TIME ZONE p_timezone - v_before AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC';
  IF v_earlier < v_later
    AND v_earlier AT TIME ZONE p_timezone = p_wall
    AND (v_earlier + p_length - c_tick) AT TIME ZONE p_timezone = p_wall + p_length - c_tick
  THEN
    RETURN v_earlier;
  END IF;
  RETURN CASE WHEN (v_later + p_length - c_tick) AT TIME ZONE p_timezone < p_wall + p_length THEN v_later END;
END
$$
