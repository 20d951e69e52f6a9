-- No ciphertext outlives its key here, nor the customer's wish to delete it: the trail is kept for good.
CREATE OR REPLACE TRIGGER provider_credentials_write_audit
AFTER INSERT OR UPDATE OR DELETE ON provider_credentials
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('credentials', 'nonce', 'ciphertext')
