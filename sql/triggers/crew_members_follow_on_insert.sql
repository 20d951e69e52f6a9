CREATE OR REPLACE TRIGGER crew_members_follow_on_insert
AFTER INSERT ON crew_members
FOR EACH ROW
EXECUTE FUNCTION crew_members_follow()
