-- Promises: the auto-sync's row, locked until the transaction ends; for a customer, if they organize it.
-- Called by set_auto_sync_status. Locks: auto-sync. Raises: SB032 auto_sync_not_found.
CREATE OR REPLACE FUNCTION lock_auto_sync(p_actor jsonb, p_auto_sync_id uuid)
RETURNS auto_syncs
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync auto_syncs;
BEGIN
  SELECT * INTO v_sync FROM auto_syncs a WHERE a.id = p_auto_sync_id FOR NO KEY UPDATE;
  IF NOT FOUND OR NOT is_organizer(p_actor, (SELECT w.organizer_id FROM crews w WHERE w.id = v_sync.crew_id)) THEN
    RAISE EXCEPTION 'auto_sync_not_found' USING ERRCODE = 'SB032',
      DETAIL = json_build_object('auto_sync_id', p_auto_sync_id);
  END IF;
  RETURN v_sync;
END
$$
