CREATE OR REPLACE TRIGGER calendar_feeds_write_audit
AFTER INSERT OR UPDATE OR DELETE ON calendar_feeds
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('calendar_feed', 'token_hash')
