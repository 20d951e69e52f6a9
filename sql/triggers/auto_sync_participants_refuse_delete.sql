-- Who is asked no more is removed by a time, never by vanishing.
CREATE OR REPLACE TRIGGER auto_sync_participants_refuse_delete
BEFORE DELETE OR TRUNCATE ON auto_sync_participants
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
