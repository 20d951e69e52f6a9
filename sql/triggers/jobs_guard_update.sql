-- The steps themselves, not a look into a table: this condition is tested for every step of every job.
CREATE OR REPLACE TRIGGER jobs_guard_update
BEFORE UPDATE OF status, lease_token ON jobs
FOR EACH ROW
WHEN (
  OLD.status <> NEW.status AND (OLD.status || ' ' || NEW.status) NOT IN (
    'pending processing', 'pending processed', 'pending skipped', 'pending cancelled',
    'processing processed', 'processing skipped', 'processing pending', 'processing discarded', 'processing cancelled',
    'discarded pending', 'skipped pending', 'cancelled pending'
  )
  OR NEW.lease_token <> OLD.lease_token + (OLD.status = 'pending' AND NEW.status = 'processing')::integer
)
EXECUTE FUNCTION jobs_guard_update()
