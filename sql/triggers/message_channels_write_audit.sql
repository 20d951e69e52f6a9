CREATE OR REPLACE TRIGGER message_channels_write_audit
AFTER INSERT OR UPDATE OR DELETE ON message_channels
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('message_channel')
