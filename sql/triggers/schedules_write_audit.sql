CREATE OR REPLACE TRIGGER schedules_write_audit
AFTER INSERT OR UPDATE OR DELETE ON schedules
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('schedule')
