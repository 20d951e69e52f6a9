-- Only what can free a place or settle an offer: completing a booking does neither.
CREATE OR REPLACE TRIGGER bookings_offer_places
AFTER UPDATE ON bookings
FOR EACH ROW
WHEN (
  OLD.holds_place AND (NOT NEW.holds_place OR NEW.slot_id <> OLD.slot_id OR NEW.units < OLD.units)
  OR NEW.status = 'confirmed' AND OLD.status <> 'confirmed'
)
EXECUTE FUNCTION bookings_offer_places()
