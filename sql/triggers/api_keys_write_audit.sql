CREATE OR REPLACE TRIGGER api_keys_write_audit
AFTER INSERT OR UPDATE OR DELETE ON api_keys
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('api_key', 'key_hash')
