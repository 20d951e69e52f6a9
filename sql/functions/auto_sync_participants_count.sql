-- Promises: an auto-sync knows how many have answered, and completes with the answer that meets its goal, once, however many
-- come at once; after its end nobody answers. Called by trigger auto_sync_participants_count, whoever writes.
-- Locks: auto-sync, then what completing it locks. Raises: SB033 auto_sync_over, SB034 invalid_times.
CREATE OR REPLACE FUNCTION auto_sync_participants_count()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync auto_syncs;
  v_times uuid[] := ARRAY(SELECT t.id FROM auto_sync_times t WHERE t.auto_sync_id = NEW.auto_sync_id);
BEGIN
  -- before counting: of two last answers the second sees the first
  SELECT * INTO v_sync FROM auto_syncs a WHERE a.id = NEW.auto_sync_id FOR NO KEY UPDATE;
  IF v_sync.status NOT IN ('running', 'paused') THEN
    RAISE EXCEPTION 'auto_sync_over' USING ERRCODE = 'SB033',
      DETAIL = json_build_object('auto_sync_id', v_sync.id, 'status', v_sync.status);
  END IF;
  IF NOT NEW.time_ids <@ v_times OR NEW.answer = 'accepted' AND NEW.time_ids = '{}' AND v_times <> '{}' THEN
    RAISE EXCEPTION 'invalid_times' USING ERRCODE = 'SB034',
      DETAIL = json_build_object('auto_sync_id', v_sync.id, 'times', NEW.time_ids);
  END IF;

  UPDATE auto_syncs a
  SET answered = (
        SELECT count(*)
        FROM auto_sync_participants p
        WHERE p.auto_sync_id = a.id AND p.removed_at IS NULL AND p.answer IS NOT NULL
      ),
      responded_at = GREATEST(a.responded_at, NEW.answered_at),
      updated_at = NEW.updated_at
  WHERE a.id = NEW.auto_sync_id
  RETURNING * INTO v_sync;
  -- one that is paused does nothing by itself: its organizer resumes it
  IF v_sync.status = 'running' AND auto_sync_goal_is_met(v_sync) THEN
    PERFORM complete_auto_sync(v_sync, NEW.updated_at);
  END IF;
  RETURN NULL;
END
$$
