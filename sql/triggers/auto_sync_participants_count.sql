-- Once for all that a statement changed: of answers written together none comes after the end.
CREATE OR REPLACE TRIGGER auto_sync_participants_count
AFTER UPDATE ON auto_sync_participants
REFERENCING OLD TABLE AS changed_before NEW TABLE AS changed_after
FOR EACH STATEMENT
EXECUTE FUNCTION auto_sync_participants_count()
