-- What a person asks for again; what becomes of it by itself is in delivery_attempts.
CREATE OR REPLACE TRIGGER deliveries_write_audit
AFTER UPDATE OF status ON deliveries
FOR EACH ROW
WHEN (OLD.status <> 'pending' AND NEW.status = 'pending')
EXECUTE FUNCTION write_audit_log('delivery.replayed', 'last_answer', 'last_error')
