-- What a schedule makes follows from its rules, whose every change is audited: a year of slots is not a year of rows.
CREATE OR REPLACE TRIGGER slots_write_audit_on_insert
AFTER INSERT ON slots
FOR EACH ROW
WHEN (NEW.source <> 'schedule')
EXECUTE FUNCTION write_audit_log('slot')
