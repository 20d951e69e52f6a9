CREATE OR REPLACE TRIGGER auto_sync_participants_write_audit
AFTER UPDATE ON auto_sync_participants
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('auto_sync_participant')
