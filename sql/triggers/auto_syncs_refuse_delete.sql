-- An auto-sync ends by a status, never by vanishing.
CREATE OR REPLACE TRIGGER auto_syncs_refuse_delete
BEFORE DELETE OR TRUNCATE ON auto_syncs
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
