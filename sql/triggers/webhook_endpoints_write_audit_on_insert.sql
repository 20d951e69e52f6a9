-- An address may hold what lets in whoever knows it, and the trail is read by more than admins.
CREATE OR REPLACE TRIGGER webhook_endpoints_write_audit_on_insert
AFTER INSERT ON webhook_endpoints
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('webhook_endpoint', 'url')
