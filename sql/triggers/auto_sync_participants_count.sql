CREATE OR REPLACE TRIGGER auto_sync_participants_count
AFTER UPDATE ON auto_sync_participants
FOR EACH ROW
WHEN (
  (OLD.answer, OLD.time_ids, OLD.answered_at, OLD.removed_at)
  IS DISTINCT FROM (NEW.answer, NEW.time_ids, NEW.answered_at, NEW.removed_at)
)
EXECUTE FUNCTION auto_sync_participants_count()
