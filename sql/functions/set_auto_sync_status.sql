-- Promises: the auto-sync is paused, running again or cancelled; the same twice is once. Paused it reminds nobody, completes
-- by itself no more, and takes answers still; resumed it completes at once, if these meet its goal.
-- Called by POST /v1/auto-syncs/{id}/pause, /resume and /cancel. Locks: auto-sync, what completing it locks, its jobs.
-- Raises: SB007 invalid_transition, SB032 auto_sync_not_found.
CREATE OR REPLACE FUNCTION set_auto_sync_status(
  p_actor jsonb, p_auto_sync_id uuid, p_status text, p_reason text DEFAULT NULL, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync auto_syncs;
BEGIN
  PERFORM set_config('holdfast.actor', (p_actor || jsonb_build_object('reason', p_reason))::text, true);
  v_sync := lock_auto_sync(p_actor, p_auto_sync_id);
  IF v_sync.status <> p_status THEN
    UPDATE auto_syncs a
    SET status = p_status,
        paused_at = CASE p_status WHEN 'paused' THEN p_now END,
        resumed_at = CASE p_status WHEN 'running' THEN p_now ELSE a.resumed_at END,
        updated_at = p_now
    WHERE a.id = p_auto_sync_id
    RETURNING * INTO v_sync;
    IF v_sync.status = 'running' AND auto_sync_goal_is_met(v_sync) THEN
      PERFORM complete_auto_sync(v_sync, p_now);
    END IF;
  END IF;
  RETURN get_auto_sync(p_auto_sync_id);
END
$$
