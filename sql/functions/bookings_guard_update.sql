-- Promises: a booking's status only takes a step that booking_transitions lists, and every change grows its version.
-- Only a hold has an expiry. A move counts from now, so that bookings_not_in_past_check refuses one into a slot that has begun.
-- Called by trigger bookings_guard_update, whoever writes. Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION bookings_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF NEW.status <> OLD.status THEN
    PERFORM require_transition(OLD.id, OLD.status, NEW.status);
  END IF;
  IF NEW.status <> 'pending' THEN
    NEW.expires_at := NULL;
  END IF;
  IF NEW.slot_id <> OLD.slot_id AND NEW.placed_at = OLD.placed_at THEN
    NEW.placed_at := now();
  END IF;
  IF NEW.updated_at = OLD.updated_at THEN
    NEW.updated_at := now();
  END IF;
  NEW.version := OLD.version + 1;
  RETURN NEW;
END
$$
