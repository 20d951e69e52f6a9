-- Promises: a new auto-sync asks everybody who is in its crew. Called by trigger auto_syncs_ask, whoever writes.
-- Locks: crew, so that nobody joins unseen meanwhile, then the new participants.
CREATE OR REPLACE FUNCTION auto_syncs_ask()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM FROM crews w WHERE w.id = NEW.crew_id FOR NO KEY UPDATE;
  INSERT INTO auto_sync_participants (auto_sync_id, customer_id, created_at, updated_at)
  SELECT NEW.id, m.customer_id, NEW.created_at, NEW.updated_at
  FROM crew_members m
  WHERE m.crew_id = NEW.crew_id AND m.left_at IS NULL;
  RETURN NULL;
END
$$
