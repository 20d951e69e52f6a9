CREATE OR REPLACE TRIGGER auto_syncs_ask
AFTER INSERT ON auto_syncs
FOR EACH ROW
WHEN (NEW.status IN ('running', 'paused'))
EXECUTE FUNCTION auto_syncs_ask()
