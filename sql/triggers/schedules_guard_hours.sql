CREATE OR REPLACE TRIGGER schedules_guard_hours
BEFORE INSERT OR UPDATE OF weekly ON schedules
FOR EACH ROW
EXECUTE FUNCTION schedules_guard_hours('weekly')
