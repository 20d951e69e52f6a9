CREATE OR REPLACE TRIGGER webhook_endpoints_write_audit_when_disabled
AFTER UPDATE OF is_enabled ON webhook_endpoints
FOR EACH ROW
WHEN (OLD.is_enabled AND NOT NEW.is_enabled)
EXECUTE FUNCTION write_audit_log('webhook_endpoint.disabled', 'url')
