-- Events alone: nothing else is delivered.
CREATE OR REPLACE TRIGGER audit_log_deliver_event
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (NEW.xid IS NOT NULL)
EXECUTE FUNCTION deliver_event()
