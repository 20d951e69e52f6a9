-- Promises: idempotency keys older than p_keep are forgotten, at most p_limit a call.
-- Called by the job processor. Locks: the keys it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_idempotency_keys(
  p_limit integer, p_keep interval DEFAULT '72 hours', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_pruned integer;
BEGIN
  WITH old AS MATERIALIZED (
    SELECT o.principal, o.operation, o.key
    FROM idempotency_keys o
    WHERE o.created_at < p_now - p_keep
    LIMIT p_limit
    FOR UPDATE SKIP LOCKED
  )
  DELETE FROM idempotency_keys k
  USING old
  WHERE (k.principal, k.operation, k.key) = (old.principal, old.operation, old.key);
  GET DIAGNOSTICS v_pruned = ROW_COUNT;
  RETURN v_pruned;
END
$$
