-- Promises: the prebooking has succeeded or failed and its job is done, together, or neither; a person looks at one that
-- failed and of which nobody knows what became.
-- Called by the handler of execute_prebooking. Locks: prebooking, job. Raises: SB020 lease_lost, SB007 invalid_transition.
CREATE OR REPLACE FUNCTION finish_prebooking(
  p_actor jsonb,
  p_prebooking_id uuid,
  p_job_id uuid,
  p_lease_token bigint,
  p_status text,
  p_booked_choice integer DEFAULT NULL,
  p_confirmation text DEFAULT NULL,
  p_reason text DEFAULT NULL,
  p_detail text DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_fired_at timestamptz := (SELECT min(a.fired_at) FROM prebooking_attempts a WHERE a.prebooking_id = p_prebooking_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE prebookings p
  SET status = p_status,
      booked_choice = p_booked_choice,
      confirmation = left(p_confirmation, 500),
      reason = p_reason,
      detail = left(p_detail, 500),
      needs_attention = p_status = 'failed' AND EXISTS (
        SELECT FROM prebooking_attempts a WHERE a.prebooking_id = p.id AND COALESCE(a.finding = 'unknown', true)
      ),
      fired_at = v_fired_at,
      lateness_ms = LEAST(extract(epoch FROM v_fired_at - p.opens_at) * 1000, 2147483647),
      updated_at = p_now
  WHERE p.id = p_prebooking_id;
  PERFORM complete_leased_job(p_job_id, p_lease_token, p_now => p_now);
END
$$
