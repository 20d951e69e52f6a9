CREATE OR REPLACE TRIGGER crew_members_follow_on_update
AFTER UPDATE OF left_at ON crew_members
FOR EACH ROW
WHEN (OLD.left_at IS DISTINCT FROM NEW.left_at)
EXECUTE FUNCTION crew_members_follow()
