-- Promises: a booking's status only ever takes a step that booking_transitions lists, and every change grows its version.
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
  NEW.version := OLD.version + 1;
  RETURN NEW;
END
$$
