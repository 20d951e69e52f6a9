-- Only what decides which job it has and when: an answer leaves it alone.
CREATE OR REPLACE TRIGGER auto_syncs_sync_jobs_on_update
AFTER UPDATE ON auto_syncs
FOR EACH ROW
WHEN (
  (OLD.status, OLD.started_at, OLD.reminded_at, OLD.resumed_at, OLD.reminder_after, OLD.pause_after)
  IS DISTINCT FROM (NEW.status, NEW.started_at, NEW.reminded_at, NEW.resumed_at, NEW.reminder_after, NEW.pause_after)
)
EXECUTE FUNCTION auto_syncs_sync_jobs()
