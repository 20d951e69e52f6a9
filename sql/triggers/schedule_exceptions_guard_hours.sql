CREATE OR REPLACE TRIGGER schedule_exceptions_guard_hours
BEFORE INSERT OR UPDATE OF hours ON schedule_exceptions
FOR EACH ROW
EXECUTE FUNCTION schedules_guard_hours('hours')
