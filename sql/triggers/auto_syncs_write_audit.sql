CREATE OR REPLACE TRIGGER auto_syncs_write_audit
AFTER INSERT OR UPDATE ON auto_syncs
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('auto_sync')
