CREATE OR REPLACE TRIGGER schedule_exceptions_write_audit
AFTER INSERT OR UPDATE OR DELETE ON schedule_exceptions
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('schedule_exception')
