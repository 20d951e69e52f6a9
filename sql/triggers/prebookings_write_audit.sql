CREATE OR REPLACE TRIGGER prebookings_write_audit
AFTER INSERT OR UPDATE ON prebookings
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('prebooking')
