-- Promises: bookings whose reminder is due have their messages, once for each reminder, and wait for the next one; of those
-- that were missed only the last is sent, and none after the start. Answers how many were looked at.
-- Called by the job processor. Locks: bookings, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION remind_due_bookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_bookings bookings[];
  v_booking bookings;
  v_minutes integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_bookings := ARRAY(
    SELECT b
    FROM jobs j
    JOIN bookings b ON b.id = j.booking_id
    WHERE j.job_type = 'remind_booking' AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF b SKIP LOCKED
  );
  FOREACH v_booking IN ARRAY v_bookings LOOP
    -- it may have been moved before it was locked
    UPDATE jobs j
    SET status = 'processed', processed_at = p_now, updated_at = p_now
    WHERE j.dedupe_key = v_booking.id::text AND j.job_type = 'remind_booking' AND j.status = 'pending'
      AND j.run_at <= p_now;
    CONTINUE WHEN NOT FOUND OR v_booking.status <> 'confirmed';

    SELECT min(m) INTO v_minutes
    FROM schedules c
    CROSS JOIN unnest(c.reminder_minutes) AS m
    WHERE c.resource_id = v_booking.resource_id AND v_booking.starts_at - make_interval(mins => m) <= p_now;
    IF v_minutes IS NOT NULL AND v_booking.starts_at > p_now THEN
      PERFORM make_messages(
        'booking_reminder', v_booking.customer_id, 'booking', v_booking.id,
        concat_ws('/', 'reminder', v_booking.id, extract(epoch FROM v_booking.starts_at)::bigint, v_minutes),
        v_booking.status, v_booking.starts_at, p_now
      );
    END IF;
    PERFORM arm_reminder(v_booking, p_now);
  END LOOP;
  RETURN cardinality(v_bookings);
END
$$
