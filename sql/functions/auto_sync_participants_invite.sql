-- Promises: who is asked by a running auto-sync gets an invitation, once. Called by trigger auto_sync_participants_invite,
-- whoever writes.
CREATE OR REPLACE FUNCTION auto_sync_participants_invite()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF EXISTS (SELECT FROM auto_syncs a WHERE a.id = NEW.auto_sync_id AND a.status = 'running') THEN
    PERFORM make_messages(
      'auto_sync_invited', NEW.customer_id, 'auto_sync', NEW.auto_sync_id, 'auto_sync_invited/' || NEW.id, 'running',
      NULL, NEW.created_at
    );
  END IF;
  RETURN NULL;
END
$$
