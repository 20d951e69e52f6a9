-- Promises: who has spent nothing that still counts is forgotten, at most p_limit a call; no row says the same.
-- Called by the job processor. Locks: the rows it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_rate_limits(p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_pruned integer;
BEGIN
  WITH old AS MATERIALIZED (
    SELECT o.principal, o.policy
    FROM rate_limits o
    WHERE o.spent_until < p_now
    LIMIT p_limit
    FOR UPDATE SKIP LOCKED
  )
  DELETE FROM rate_limits r
  USING old
  WHERE (r.principal, r.policy) = (old.principal, old.policy);
  GET DIAGNOSTICS v_pruned = ROW_COUNT;
  RETURN v_pruned;
END
$$
