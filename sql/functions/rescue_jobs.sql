-- Promises: jobs whose lease is over, since whoever ran them died or hung, wait for their next attempt, or end where those
-- are used up. Answers how many. Called by every run first; it needs no leader. Locks: jobs, SKIP LOCKED.
CREATE OR REPLACE FUNCTION rescue_jobs(p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_lost jsonb;
BEGIN
  SELECT jsonb_agg(
    jsonb_build_object(
      'id', l.id, 'lease_token', l.lease_token, 'outcome', 'lease_expired',
      'error_message', 'the lease of ' || l.leased_by || ' is over'
    )
  ) INTO v_lost
  FROM (
    SELECT j.id, j.lease_token, j.leased_by
    FROM jobs j
    WHERE j.status = 'processing' AND j.leased_until < p_now
    ORDER BY j.id
    LIMIT p_limit
    FOR NO KEY UPDATE SKIP LOCKED
  ) l;
  RETURN (SELECT count(*) FROM settle_jobs(COALESCE(v_lost, '[]'), p_now));
END
$$
