CREATE OR REPLACE TRIGGER bookings_write_audit
AFTER INSERT OR UPDATE ON bookings
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('booking')
