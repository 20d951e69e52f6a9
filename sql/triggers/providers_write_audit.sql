CREATE OR REPLACE TRIGGER providers_write_audit
AFTER INSERT OR UPDATE OR DELETE ON providers
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('provider')
