-- Completing a booking keeps its place, so the sweep that completes thousands never touches a slot.
CREATE OR REPLACE TRIGGER bookings_count_places_on_update
AFTER UPDATE ON bookings
FOR EACH ROW
WHEN ((OLD.holds_place, OLD.slot_id, OLD.units) IS DISTINCT FROM (NEW.holds_place, NEW.slot_id, NEW.units))
EXECUTE FUNCTION bookings_count_places()
