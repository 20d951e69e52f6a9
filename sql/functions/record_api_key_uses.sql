-- Promises: it is on record, to the minute, that these keys were used. Not audited: a use changes nothing of a key.
-- Called by every process, once a minute. Locks: keys (by id), SKIP LOCKED: whoever has one now records it, or the next does.
CREATE OR REPLACE FUNCTION record_api_key_uses(p_key_ids uuid[], p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_recorded integer;
BEGIN
  WITH used AS MATERIALIZED (
    SELECT u.id
    FROM api_keys u
    WHERE u.id = ANY (p_key_ids) AND (u.last_used_at IS NULL OR u.last_used_at <= p_now - interval '1 minute')
    ORDER BY u.id
    FOR UPDATE SKIP LOCKED
  )
  UPDATE api_keys k SET last_used_at = p_now FROM used WHERE k.id = used.id;
  GET DIAGNOSTICS v_recorded = ROW_COUNT;
  RETURN v_recorded;
END
$$
