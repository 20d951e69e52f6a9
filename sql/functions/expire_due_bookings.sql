-- Promises: holds whose time is over become expired and free their places, each once.
-- Called by the job processor. Locks: slots and bookings, SKIP LOCKED: what is busy comes next run.
CREATE OR REPLACE FUNCTION expire_due_bookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_expired integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  WITH due AS MATERIALIZED (
    SELECT b.id
    FROM jobs j
    JOIN bookings b ON b.id = j.booking_id
    JOIN slots s ON s.id = b.slot_id
    WHERE j.job_type = 'expire_booking' AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
      AND b.status = 'pending' AND b.expires_at <= p_now
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF s, b SKIP LOCKED
  )
  UPDATE bookings b
  SET status = 'expired', updated_at = p_now
  FROM due
  WHERE b.id = due.id;
  GET DIAGNOSTICS v_expired = ROW_COUNT;
  RETURN v_expired;
END
$$
