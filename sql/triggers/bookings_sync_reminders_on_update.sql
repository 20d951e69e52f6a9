-- Only what decides when to remind: other changes leave the job alone.
CREATE OR REPLACE TRIGGER bookings_sync_reminders_on_update
AFTER UPDATE ON bookings
FOR EACH ROW
WHEN (
  NEW.status = 'confirmed'
  AND (OLD.status, OLD.resource_id, OLD.starts_at) IS DISTINCT FROM (NEW.status, NEW.resource_id, NEW.starts_at)
)
EXECUTE FUNCTION bookings_sync_reminders()
