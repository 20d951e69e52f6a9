CREATE OR REPLACE TRIGGER crew_members_write_audit
AFTER INSERT OR UPDATE ON crew_members
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('crew_member')
