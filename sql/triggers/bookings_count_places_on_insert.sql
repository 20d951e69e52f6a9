-- AFTER, not BEFORE: an INSERT that ON CONFLICT turns into nothing must not count.
CREATE OR REPLACE TRIGGER bookings_count_places_on_insert
AFTER INSERT ON bookings
FOR EACH ROW
WHEN (NEW.holds_place)
EXECUTE FUNCTION bookings_count_places()
