-- Promises: whether a message of an auto-sync says what is true no more: the auto-sync has another status by now, or whoever
-- is asked has answered meanwhile or is asked no more. Called by message_reason.
-- Locks: auto-sync (shared), so that it waits for an answer under way, and an answer waits for it.
CREATE OR REPLACE FUNCTION auto_sync_message_is_outdated(p_message messages)
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_status text;
BEGIN
  SELECT a.status INTO v_status FROM auto_syncs a WHERE a.id = p_message.subject_id FOR SHARE;
  RETURN v_status <> p_message.told_status OR v_status = 'running' AND NOT EXISTS (
    SELECT FROM auto_sync_participants p
    WHERE p.auto_sync_id = p_message.subject_id AND p.customer_id = p_message.customer_id AND p.answer IS NULL
      AND p.removed_at IS NULL
  );
END
$$
