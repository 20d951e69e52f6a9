-- Promises: an auto-sync's status takes only these steps, whoever writes; when it took them, and how many have answered,
-- stand in the row, and each change grows its version. Called by trigger auto_syncs_guard_update. Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION auto_syncs_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- who writes around the functions says no time
  v_at timestamptz := CASE WHEN NEW.updated_at = OLD.updated_at THEN now() ELSE NEW.updated_at END;
BEGIN
  IF OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
    ('running', 'paused'), ('running', 'completed'), ('running', 'cancelled'), ('paused', 'running'),
    ('paused', 'cancelled')
  ) THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object('auto_sync_id', OLD.id, 'from', OLD.status, 'to', NEW.status);
  END IF;

  NEW.version := OLD.version + 1;
  NEW.answered := (
    SELECT count(*)
    FROM auto_sync_participants p
    WHERE p.auto_sync_id = NEW.id AND p.removed_at IS NULL AND p.answer IS NOT NULL
  );
  IF OLD.status <> NEW.status THEN
    NEW.paused_at := CASE NEW.status WHEN 'paused' THEN COALESCE(NEW.paused_at, v_at) END;
    NEW.pause_reason := CASE NEW.status WHEN 'paused' THEN COALESCE(NEW.pause_reason, 'by_hand') END;
    NEW.resumed_at := CASE NEW.status
      WHEN 'running' THEN COALESCE(NEW.resumed_at, v_at)
      WHEN 'paused' THEN NULL
      ELSE NEW.resumed_at
    END;
    NEW.completed_at := CASE NEW.status WHEN 'completed' THEN COALESCE(NEW.completed_at, v_at) END;
    NEW.updated_at := v_at;
  END IF;
  RETURN NEW;
END
$$
