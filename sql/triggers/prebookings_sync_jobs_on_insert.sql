CREATE OR REPLACE TRIGGER prebookings_sync_jobs_on_insert
AFTER INSERT ON prebookings
FOR EACH ROW
EXECUTE FUNCTION prebookings_sync_jobs()
