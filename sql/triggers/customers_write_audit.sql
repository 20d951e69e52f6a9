-- Personal data stays in customers alone: the audit row says which of these changed, never to what.
CREATE OR REPLACE TRIGGER customers_write_audit
AFTER INSERT OR UPDATE OR DELETE ON customers
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('customer', 'name', 'email', 'phone')
