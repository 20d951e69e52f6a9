CREATE OR REPLACE TRIGGER bookings_guard_update
BEFORE UPDATE ON bookings
FOR EACH ROW
EXECUTE FUNCTION bookings_guard_update()
