-- A booking imported as already over needs no job.
CREATE OR REPLACE TRIGGER bookings_sync_jobs_on_insert
AFTER INSERT ON bookings
FOR EACH ROW
WHEN (NEW.status IN ('pending', 'confirmed'))
EXECUTE FUNCTION bookings_sync_jobs()
