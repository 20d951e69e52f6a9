-- Not of the last use, which comes every minute and changes nothing.
CREATE OR REPLACE TRIGGER api_keys_write_audit
AFTER INSERT OR UPDATE OF name, prefix, key_hash, scopes, created_at, revoked_at, expires_at OR DELETE ON api_keys
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('api_key', 'key_hash')
