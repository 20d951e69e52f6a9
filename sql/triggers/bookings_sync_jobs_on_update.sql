-- Only what decides which job is due, and when: other changes leave the jobs alone.
CREATE OR REPLACE TRIGGER bookings_sync_jobs_on_update
AFTER UPDATE ON bookings
FOR EACH ROW
WHEN ((OLD.status, OLD.ends_at, OLD.expires_at) IS DISTINCT FROM (NEW.status, NEW.ends_at, NEW.expires_at))
EXECUTE FUNCTION bookings_sync_jobs()
