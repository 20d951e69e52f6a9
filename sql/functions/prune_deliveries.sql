-- Promises: deliveries that are over are forgotten after p_keep, with their attempts; at most p_limit a call.
-- Called by the job processor. Locks: the deliveries it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_deliveries(
  p_limit integer, p_keep interval DEFAULT '30 days', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_old uuid[];
BEGIN
  v_old := ARRAY(
    SELECT d.id
    FROM deliveries d
    WHERE d.status <> 'pending' AND d.updated_at < p_now - p_keep
    ORDER BY d.updated_at
    LIMIT p_limit
    FOR UPDATE SKIP LOCKED
  );
  DELETE FROM delivery_attempts a WHERE a.delivery_id = ANY (v_old);
  DELETE FROM deliveries d WHERE d.id = ANY (v_old);
  RETURN cardinality(v_old);
END
$$
