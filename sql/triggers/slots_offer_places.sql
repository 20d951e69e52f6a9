-- Limits that grow, and a slot that is open again. Bookings themselves are another trigger's.
CREATE OR REPLACE TRIGGER slots_offer_places
AFTER UPDATE OF max_bookings, max_units, is_legacy ON slots
FOR EACH ROW
WHEN (
  (OLD.max_bookings, OLD.max_units, OLD.is_legacy) IS DISTINCT FROM (NEW.max_bookings, NEW.max_units, NEW.is_legacy)
)
EXECUTE FUNCTION slots_offer_places()
