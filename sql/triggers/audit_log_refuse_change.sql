-- Append-only; audit_log_guard_update says of updates. Retention is the owner's deliberate act: disabling this by name.
CREATE OR REPLACE TRIGGER audit_log_refuse_change
BEFORE DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
