CREATE OR REPLACE TRIGGER prebookings_sync_jobs_on_update
AFTER UPDATE OF status, opens_at ON prebookings
FOR EACH ROW
WHEN (OLD.status <> NEW.status OR OLD.opens_at <> NEW.opens_at)
EXECUTE FUNCTION prebookings_sync_jobs()
