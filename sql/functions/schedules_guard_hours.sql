-- Promises: only opening hours are stored as such, whoever writes: hours that overlap would make slots that do.
-- Called by triggers schedules_guard_hours and schedule_exceptions_guard_hours with the column to look at. Raises: what require_hours raises.
CREATE OR REPLACE FUNCTION schedules_guard_hours()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM require_hours(to_jsonb(NEW) -> TG_ARGV[0], TG_ARGV[0] = 'weekly');
  RETURN NEW;
END
$$
