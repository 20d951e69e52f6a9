-- Promises: the job is processed in the caller's own transaction, or all of it is undone: its effect happens exactly once.
-- Called last by functions that do a job inside the database, for locks go slots, bookings, jobs. Locks: job.
-- Raises: SB020 lease_lost.
CREATE OR REPLACE FUNCTION complete_leased_job(
  p_job_id uuid, p_lease_token bigint, p_follow_ups jsonb DEFAULT '[]', p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM FROM settle_jobs(
    jsonb_build_array(
      jsonb_build_object(
        'id', p_job_id, 'lease_token', p_lease_token, 'outcome', 'processed', 'follow_ups', p_follow_ups
      )
    ),
    p_now
  ) s
  WHERE s.answer = 'ok';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'lease_lost' USING ERRCODE = 'SB020',
      DETAIL = json_build_object('job_id', p_job_id, 'lease_token', p_lease_token);
  END IF;
END
$$
