-- Promises: a slot's booked_bookings and booked_units always equal the bookings that hold a place in it.
-- Called by triggers bookings_count_places_on_insert and _on_update, whoever writes. The CHECKs on slots then refuse
-- one too many. Locks: slots (whoever moves bookings between slots locks both first, by id).
CREATE OR REPLACE FUNCTION bookings_count_places()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF OLD.holds_place THEN
    UPDATE slots s
    SET booked_bookings = s.booked_bookings - 1, booked_units = s.booked_units - OLD.units
    WHERE s.id = OLD.slot_id;
  END IF;
  IF NEW.holds_place THEN
    UPDATE slots s
    SET booked_bookings = s.booked_bookings + 1, booked_units = s.booked_units + NEW.units
    WHERE s.id = NEW.slot_id;
  END IF;
  RETURN NULL;
END
$$
