-- Promises: auto-syncs whose reminder is due have told those who have not answered, once each, and wait for their pause
-- check. Answers how many were looked at. Called by the job processor.
-- Locks: auto-syncs, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION remind_due_auto_syncs(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due uuid[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_due := lock_due_auto_syncs('auto_sync_reminder', p_limit, p_now);
  UPDATE auto_syncs a SET reminded_at = p_now, updated_at = p_now WHERE a.id = ANY (v_due);
  PERFORM make_messages(
    'auto_sync_reminder', p.customer_id, 'auto_sync', p.auto_sync_id, 'auto_sync_reminder/' || p.id, 'running', NULL, p_now
  )
  FROM auto_sync_participants p
  WHERE p.auto_sync_id = ANY (v_due) AND p.removed_at IS NULL AND p.answer IS NULL;
  RETURN cardinality(v_due);
END
$$
