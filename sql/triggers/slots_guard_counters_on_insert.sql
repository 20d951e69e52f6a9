-- A new slot is empty.
CREATE OR REPLACE TRIGGER slots_guard_counters_on_insert
BEFORE INSERT ON slots
FOR EACH ROW
WHEN (NEW.booked_bookings <> 0 OR NEW.booked_units <> 0)
EXECUTE FUNCTION slots_guard_counters()
