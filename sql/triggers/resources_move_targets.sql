CREATE OR REPLACE TRIGGER resources_move_targets
AFTER UPDATE OF timezone ON resources
FOR EACH ROW
WHEN (OLD.timezone <> NEW.timezone)
EXECUTE FUNCTION move_targets()
