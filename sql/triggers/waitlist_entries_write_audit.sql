CREATE OR REPLACE TRIGGER waitlist_entries_write_audit
AFTER INSERT OR UPDATE OR DELETE ON waitlist_entries
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('waitlist_entry')
