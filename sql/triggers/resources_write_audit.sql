CREATE OR REPLACE TRIGGER resources_write_audit
AFTER INSERT OR UPDATE OR DELETE ON resources
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('resource')
