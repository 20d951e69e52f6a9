-- Promises: jobs that the caller still holds are leased to it for so much longer. Answers which, and whether somebody asked
-- to cancel them; one that is not among them is lost, and its work should stop. Called by the worker. Locks: jobs.
CREATE OR REPLACE FUNCTION extend_leases(
  p_job_ids uuid[], p_lease_tokens bigint[], p_lease interval, p_now timestamptz DEFAULT now()
)
RETURNS TABLE (job_id uuid, is_cancel_requested boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    UPDATE jobs j
    SET leased_until = p_now + p_lease
    FROM unnest(p_job_ids, p_lease_tokens) AS h (id, lease_token)
    WHERE j.id = h.id AND j.lease_token = h.lease_token AND j.status = 'processing'
    RETURNING j.id, j.cancel_requested_at IS NOT NULL;
END
$$
