-- Promises: returns only if these are opening hours: from HH:MM to a later HH:MM of the same day, 24:00 at most, no two
-- of one day overlapping; with a weekday from 1 (Monday) to 7 where they are weekly, without one where they are a date's.
-- Called by schedules_guard_hours, and by put_schedule and put_exception in a dry run. Raises: SB017 invalid_hours.
CREATE OR REPLACE FUNCTION require_hours(p_hours jsonb, p_is_weekly boolean)
RETURNS void
LANGUAGE plpgsql
IMMUTABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  c_clock CONSTANT text := '^(([01]\d|2[0-3]):[0-5]\d|24:00)$';
  v_wrong jsonb;
BEGIN
  SELECT h.entry INTO v_wrong
  FROM (
    SELECT
      entry,
      entry ->> 'opens' AS opens,
      entry ->> 'closes' AS closes,
      entry ->> 'weekday' AS weekday,
      -- text compares as time does: both are HH:MM
      max(entry ->> 'closes') OVER (
        PARTITION BY entry ->> 'weekday' ORDER BY entry ->> 'opens', entry ->> 'closes'
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
      ) AS closed_before
    FROM jsonb_array_elements(p_hours) entry
  ) h
  WHERE (
    h.opens ~ c_clock AND h.closes ~ c_clock AND h.opens < h.closes
    AND h.opens >= COALESCE(h.closed_before, h.opens)
    AND CASE WHEN p_is_weekly THEN h.weekday ~ '^[1-7]$' ELSE h.weekday IS NULL END
  ) IS NOT TRUE
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'invalid_hours' USING ERRCODE = 'SB017', DETAIL = json_build_object('hours', v_wrong);
  END IF;
END
$$
