CREATE OR REPLACE TRIGGER auto_syncs_sync_jobs_on_insert
AFTER INSERT ON auto_syncs
FOR EACH ROW
WHEN (NEW.status = 'running')
EXECUTE FUNCTION auto_syncs_sync_jobs()
