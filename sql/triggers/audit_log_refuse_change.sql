-- Append-only. Retention is the owner's deliberate act: disabling this trigger by name.
CREATE OR REPLACE TRIGGER audit_log_refuse_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
