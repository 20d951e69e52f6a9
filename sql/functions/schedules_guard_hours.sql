-- Promises: only opening hours are stored as such, whoever writes: hours that overlap would make slots that do.
-- Called by triggers schedules_guard_hours and schedule_exceptions_guard_hours. Raises: what require_hours raises.
CREATE OR REPLACE FUNCTION schedules_guard_hours()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF TG_TABLE_NAME = 'schedules' THEN
    PERFORM require_hours(NEW.weekly, true);
  ELSE
    PERFORM require_hours(NEW.hours, false);
  END IF;
  RETURN NEW;
END
$$
