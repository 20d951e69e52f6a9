-- Promises: nobody waits for a slot that has begun, or that takes no newcomers any more. Answers how many it told so.
-- Called by the job processor. Locks: entries, SKIP LOCKED.
CREATE OR REPLACE FUNCTION close_waitlists(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_closed integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  WITH over AS MATERIALIZED (
    SELECT w.id
    FROM waitlist_entries w
    JOIN slots s ON s.id = w.slot_id
    WHERE w.status = 'waiting' AND (s.starts_at <= p_now OR s.is_legacy)
    LIMIT p_limit
    FOR NO KEY UPDATE OF w SKIP LOCKED
  )
  UPDATE waitlist_entries w
  SET status = 'closed', updated_at = p_now
  FROM over o
  WHERE w.id = o.id;
  GET DIAGNOSTICS v_closed = ROW_COUNT;
  RETURN v_closed;
END
$$
