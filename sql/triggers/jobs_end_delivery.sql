CREATE OR REPLACE TRIGGER jobs_end_delivery
AFTER UPDATE OF status ON jobs
FOR EACH ROW
WHEN (NEW.job_type = 'deliver_webhook' AND NEW.status IN ('discarded', 'skipped', 'cancelled'))
EXECUTE FUNCTION jobs_end_delivery()
