-- A booking ends by a status, never by vanishing.
CREATE OR REPLACE TRIGGER bookings_refuse_delete
BEFORE DELETE OR TRUNCATE ON bookings
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
