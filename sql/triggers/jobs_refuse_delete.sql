-- What is still to be done cannot be forgotten: it is cancelled first, which leaves a trace.
CREATE OR REPLACE TRIGGER jobs_refuse_delete
BEFORE DELETE ON jobs
FOR EACH ROW
WHEN (OLD.status IN ('pending', 'processing'))
EXECUTE FUNCTION refuse_change()
