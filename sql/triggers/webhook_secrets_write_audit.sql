CREATE OR REPLACE TRIGGER webhook_secrets_write_audit
AFTER INSERT OR UPDATE OR DELETE ON webhook_secrets
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('webhook_secret', 'nonce', 'ciphertext')
