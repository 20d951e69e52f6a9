-- The event that is delivered as a test.
CREATE OR REPLACE TRIGGER webhook_endpoints_write_audit_when_tested
AFTER UPDATE OF tested_at ON webhook_endpoints
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('webhook_endpoint.tested', 'url')
