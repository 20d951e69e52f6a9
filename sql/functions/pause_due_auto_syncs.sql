-- Promises: auto-syncs whose pause check is due are paused: their goal is not met, or they would be completed. Answers how
-- many. Called by the job processor. Locks: auto-syncs, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION pause_due_auto_syncs(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due uuid[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_due := lock_due_auto_syncs('auto_sync_pause_check', p_limit, p_now);
  UPDATE auto_syncs a
  SET status = 'paused', pause_reason = 'goal_not_met', paused_at = p_now, updated_at = p_now
  WHERE a.id = ANY (v_due);
  RETURN cardinality(v_due);
END
$$
