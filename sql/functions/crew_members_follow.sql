-- Promises: who joins a crew is asked by each of its auto-syncs that is not over, and nobody waits for who leaves.
-- Called by triggers crew_members_follow_on_insert and _on_update, whoever writes.
-- Locks: crew, its live auto-syncs by id, then what an answer locks.
CREATE OR REPLACE FUNCTION crew_members_follow()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_at timestamptz := COALESCE(NEW.left_at, NEW.joined_at);
  v_live uuid[];
BEGIN
  -- an auto-sync that is being started asks whom it finds, and then comes here
  PERFORM FROM crews w WHERE w.id = NEW.crew_id FOR NO KEY UPDATE;
  v_live := ARRAY(
    SELECT a.id
    FROM auto_syncs a
    WHERE a.crew_id = NEW.crew_id AND a.status IN ('running', 'paused')
    ORDER BY a.id
    FOR NO KEY UPDATE
  );
  IF NEW.left_at IS NULL THEN
    INSERT INTO auto_sync_participants AS p (auto_sync_id, customer_id, created_at, updated_at)
    SELECT l.id, NEW.customer_id, v_at, v_at FROM unnest(v_live) l (id) ORDER BY l.id
    ON CONFLICT (auto_sync_id, customer_id) DO UPDATE SET removed_at = NULL, updated_at = v_at;
  ELSE
    UPDATE auto_sync_participants p
    SET removed_at = v_at, updated_at = v_at
    WHERE p.auto_sync_id = ANY (v_live) AND p.customer_id = NEW.customer_id AND p.removed_at IS NULL;
  END IF;
  RETURN NULL;
END
$$
