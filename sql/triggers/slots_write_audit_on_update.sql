-- Not the counters: they follow from bookings, whose every change is audited already.
CREATE OR REPLACE TRIGGER slots_write_audit_on_update
AFTER UPDATE OF resource_id, starts_at, ends_at, max_bookings, max_units, is_legacy ON slots
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('slot')
