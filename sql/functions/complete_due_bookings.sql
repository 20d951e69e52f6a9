-- Promises: confirmed bookings whose end has passed become completed, each once, however many callers run at once.
-- Called by the job processor. Picks by job, oldest first, and settles the jobs in one go; what else is pending of a booking, the
-- trigger settles. Locks: bookings, SKIP LOCKED, then their jobs: it waits for no customer, and holds nothing of a booking it
-- passed by.
CREATE OR REPLACE FUNCTION complete_due_bookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_completed integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  WITH due AS MATERIALIZED (
    SELECT b.id, j.id AS job_id
    FROM jobs j
    JOIN bookings b ON b.id = j.booking_id
    WHERE j.job_type = 'complete_booking' AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
      AND b.status = 'confirmed' AND b.ends_at <= p_now
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF b SKIP LOCKED
  ), settled AS (
    -- the trigger would do it too, one by one, at ten times the price
    UPDATE jobs j
    SET status = 'processed', processed_at = p_now, updated_at = p_now
    FROM due
    WHERE j.id = due.job_id AND j.status = 'pending'
  )
  UPDATE bookings b
  SET status = 'completed', updated_at = p_now
  FROM due
  WHERE b.id = due.id;
  GET DIAGNOSTICS v_completed = ROW_COUNT;
  RETURN v_completed;
END
$$
