-- What a person does to a job; what becomes of it by itself is in job_attempts.
CREATE OR REPLACE TRIGGER jobs_write_audit
AFTER UPDATE OF status, cancel_requested_at ON jobs
FOR EACH ROW
WHEN (
  OLD.cancel_requested_at IS NULL AND NEW.cancel_requested_at IS NOT NULL
  OR OLD.status IN ('discarded', 'skipped', 'cancelled') AND NEW.status = 'pending'
)
EXECUTE FUNCTION write_audit_log('job', 'payload', 'result', 'error_message')
