CREATE OR REPLACE TRIGGER auto_syncs_guard_update
BEFORE UPDATE ON auto_syncs
FOR EACH ROW
EXECUTE FUNCTION auto_syncs_guard_update()
