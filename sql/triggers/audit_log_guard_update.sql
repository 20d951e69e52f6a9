CREATE OR REPLACE TRIGGER audit_log_guard_update
BEFORE UPDATE ON audit_log
FOR EACH ROW
EXECUTE FUNCTION audit_log_guard_update()
