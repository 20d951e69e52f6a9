-- Promises: places that a slot gains go to those in its line first, but for those an import brings its own booking for.
-- Called by trigger slots_offer_places, whoever writes.
-- Locks: slot, entries, then the new bookings.
CREATE OR REPLACE FUNCTION slots_offer_places()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF current_setting('holdfast.growth_is_taken', true) = 'on' THEN
    RETURN NULL;
  END IF;
  -- not every writer says when
  PERFORM offer_places(NEW.id, GREATEST(NEW.updated_at, now()));
  RETURN NULL;
END
$$
