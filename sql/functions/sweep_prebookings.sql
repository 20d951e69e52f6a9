-- Promises: a prebooking whose job is over without it, since its tries are used up or somebody cancelled it, has failed,
-- and a person looks at one of which nobody knows what became; one at a resource gets a job again. Answers how many.
-- Called by the job processor. Locks: prebookings, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION sweep_prebookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_patience CONSTANT interval := interval '1 minute';
  v_lost prebookings[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_lost := ARRAY(
    SELECT p
    FROM prebookings p
    WHERE p.status IN ('pending', 'executing') AND p.opens_at < p_now - c_patience
      AND NOT EXISTS (
        SELECT FROM jobs j
        WHERE j.dedupe_key = prebooking_job_key(p) AND j.status IN ('pending', 'processing')
      )
    ORDER BY p.opens_at, p.place_in_line
    LIMIT p_limit
    FOR NO KEY UPDATE SKIP LOCKED
  );
  UPDATE prebookings p
  SET status = 'failed',
      reason = 'gave_up',
      needs_attention = EXISTS (
        SELECT FROM prebooking_attempts a WHERE a.prebooking_id = p.id AND COALESCE(a.finding = 'unknown', true)
      ),
      updated_at = p_now
  WHERE p.id IN (SELECT l.id FROM unnest(v_lost) l WHERE l.provider IS NOT NULL);
  PERFORM enqueue_opening(l, p_now) FROM unnest(v_lost) l WHERE l.provider IS NULL;
  RETURN cardinality(v_lost);
END
$$
