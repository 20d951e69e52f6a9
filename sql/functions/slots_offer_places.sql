-- Promises: places that a slot gains go to those in its line first. Called by trigger slots_offer_places, whoever writes.
-- Locks: slot, entries, then the new bookings.
CREATE OR REPLACE FUNCTION slots_offer_places()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM offer_places(NEW.id, NEW.updated_at);
  RETURN NULL;
END
$$
