-- Append-only; audit_log_guard_update says of updates. Each partition has one for itself: add_audit_partition makes it.
CREATE OR REPLACE TRIGGER audit_log_refuse_change
BEFORE DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()
