-- Not that it fails or works again, which its deliveries tell; and disabling has a name of its own.
CREATE OR REPLACE TRIGGER webhook_endpoints_write_audit_on_update
AFTER UPDATE OF url, event_types, description, is_enabled ON webhook_endpoints
FOR EACH ROW
WHEN (NOT OLD.is_enabled OR NEW.is_enabled)
EXECUTE FUNCTION write_audit_log('webhook_endpoint', 'url')
