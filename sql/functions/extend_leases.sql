-- Promises: jobs that the caller still holds are leased to it for so much longer. Answers which, and whether somebody asked
-- to cancel them; one that is not among them is lost, and its work should stop. Called by the worker. Locks: jobs by id.
CREATE OR REPLACE FUNCTION extend_leases(
  p_job_ids uuid[], p_lease_tokens bigint[], p_lease interval, p_now timestamptz DEFAULT now()
)
RETURNS TABLE (job_id uuid, lease_token bigint, is_cancel_requested boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    WITH held AS MATERIALIZED (
      SELECT j.id
      FROM unnest(p_job_ids, p_lease_tokens) AS h (id, lease_token)
      JOIN jobs j ON j.id = h.id AND j.lease_token = h.lease_token
      WHERE j.status = 'processing'
      ORDER BY j.id
      FOR NO KEY UPDATE OF j
    )
    UPDATE jobs j
    SET leased_until = p_now + p_lease
    FROM held
    WHERE j.id = held.id
    RETURNING j.id, j.lease_token, j.cancel_requested_at IS NOT NULL;
END
$$
