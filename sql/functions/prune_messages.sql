-- Promises: messages that are over are forgotten p_keep after they were made, at most p_limit a call; not those of a customer
-- under a legal hold. Called by the job processor. Locks: the messages it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_messages(
  p_limit integer, p_keep interval DEFAULT '365 days', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_pruned integer;
BEGIN
  DELETE FROM messages m
  WHERE m.id IN (
    SELECT o.id
    FROM messages o
    JOIN customers c ON c.id = o.customer_id
    WHERE o.created_at < p_now - p_keep AND o.status IN ('sent', 'failed', 'skipped') AND c.legal_hold_since IS NULL
    ORDER BY o.created_at
    LIMIT p_limit
    FOR UPDATE OF o SKIP LOCKED
  );
  GET DIAGNOSTICS v_pruned = ROW_COUNT;
  RETURN v_pruned;
END
$$
