CREATE OR REPLACE TRIGGER prebookings_guard_update
BEFORE UPDATE ON prebookings
FOR EACH ROW
EXECUTE FUNCTION prebookings_guard_update()
