-- Promises: every slot that the rules give, from now to the horizon: wall-clock hours of each date in the resource's
-- zone, cut into equal lengths. A date with an exception has that one's hours and no others.
-- Called by schedule_plan. Reads nothing but the resource's zone: the rules are those handed in.
CREATE OR REPLACE FUNCTION schedule_slots(
  p_schedule schedules, p_exceptions schedule_exceptions[], p_now timestamptz DEFAULT now()
)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_timezone text := (SELECT r.timezone FROM resources r WHERE r.id = p_schedule.resource_id);
  v_today date := (p_now AT TIME ZONE v_timezone)::date;
  v_length interval := make_interval(mins => p_schedule.slot_minutes);
BEGIN
  RETURN QUERY
    WITH days AS (
      SELECT v_today + n AS date, extract(isodow FROM v_today + n) AS weekday
      FROM generate_series(0, p_schedule.horizon_days) n
    ), hours AS (
      SELECT d.date, (h ->> 'opens')::time AS opens, (h ->> 'closes')::time AS closes
      FROM days d
      LEFT JOIN unnest(p_exceptions) e ON e.date = d.date
      CROSS JOIN LATERAL jsonb_array_elements(COALESCE(e.hours, p_schedule.weekly)) h
      WHERE e.date IS NOT NULL OR (h ->> 'weekday')::integer = d.weekday
    ), starts AS (
      SELECT slot_instant(h.date + h.opens + v_length * k, v_length, v_timezone) AS at
      FROM hours h
      CROSS JOIN LATERAL generate_series(
        0, (extract(epoch FROM h.closes - h.opens) / 60)::integer / p_schedule.slot_minutes - 1
      ) k
    )
    SELECT s.at, s.at + v_length FROM starts s WHERE s.at > p_now;
END
$$
