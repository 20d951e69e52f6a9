CREATE OR REPLACE TRIGGER job_queues_write_audit
AFTER INSERT OR UPDATE OR DELETE ON job_queues
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('job_queue')
