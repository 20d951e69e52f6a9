CREATE OR REPLACE TRIGGER auto_sync_participants_invite
AFTER INSERT ON auto_sync_participants
FOR EACH ROW
EXECUTE FUNCTION auto_sync_participants_invite()
