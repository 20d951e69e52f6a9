-- A crew is what its auto-syncs were asked of.
CREATE OR REPLACE TRIGGER crews_refuse_delete
BEFORE DELETE OR TRUNCATE ON crews
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
