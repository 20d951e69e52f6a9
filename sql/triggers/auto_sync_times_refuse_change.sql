-- What was answered was answered to these times.
CREATE OR REPLACE TRIGGER auto_sync_times_refuse_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON auto_sync_times
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
