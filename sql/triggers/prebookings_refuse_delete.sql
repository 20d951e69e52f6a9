-- A prebooking ends by a status, never by vanishing.
CREATE OR REPLACE TRIGGER prebookings_refuse_delete
BEFORE DELETE OR TRUNCATE ON prebookings
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
