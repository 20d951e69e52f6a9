-- A slot that its schedule takes back was never booked, and goes as it came.
CREATE OR REPLACE TRIGGER slots_write_audit_on_delete
AFTER DELETE ON slots
FOR EACH ROW
WHEN (OLD.source <> 'schedule')
EXECUTE FUNCTION write_audit_log('slot')
