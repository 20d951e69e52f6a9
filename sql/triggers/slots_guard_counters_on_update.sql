-- Depth 0 is a writer's own statement; bookings_count_places writes from inside a trigger, and pays nothing for this.
CREATE OR REPLACE TRIGGER slots_guard_counters_on_update
BEFORE UPDATE OF booked_bookings, booked_units ON slots
FOR EACH ROW
WHEN (
  pg_trigger_depth() = 0
  AND (OLD.booked_bookings, OLD.booked_units) IS DISTINCT FROM (NEW.booked_bookings, NEW.booked_units)
)
EXECUTE FUNCTION slots_guard_counters()
