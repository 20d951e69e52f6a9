-- Not OF the counters alone: a limit that shrinks to what is booked fills a slot too.
CREATE OR REPLACE TRIGGER slots_write_audit_when_full
AFTER UPDATE OF booked_bookings, booked_units, max_bookings, max_units ON slots
FOR EACH ROW
WHEN (
  (NEW.booked_bookings >= NEW.max_bookings OR NEW.booked_units >= NEW.max_units)
  AND (OLD.booked_bookings >= OLD.max_bookings OR OLD.booked_units >= OLD.max_units) IS NOT TRUE
)
EXECUTE FUNCTION write_audit_log('slot.full')
