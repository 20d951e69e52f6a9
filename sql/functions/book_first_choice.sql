-- Promises: the prebooking has the first of its choices that is to be had, or has failed, in the line where it asked for
-- that; each choice that was tried is on record. Answers its status. Called by run_openings, which has locked it and its
-- slots. Locks: customer, then the new booking and its job.
CREATE OR REPLACE FUNCTION book_first_choice(p_actor jsonb, p_prebooking_id uuid, p_now timestamptz DEFAULT now())
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_prebooking prebookings := (SELECT p FROM prebookings p WHERE p.id = p_prebooking_id);
  v_slot slots;
  v_booking bookings;
  v_reason text;
BEGIN
  FOR v_choice IN 1 .. cardinality(v_prebooking.starts_at) LOOP
    SELECT * INTO v_slot
    FROM slots s
    WHERE s.resource_id = v_prebooking.resource_id AND s.starts_at = v_prebooking.starts_at[v_choice]
    ORDER BY s.is_legacy, s.ends_at
    LIMIT 1;
    v_booking := NULL;
    v_reason := CASE WHEN v_slot.id IS NULL THEN 'slot_not_found' END;
    IF v_slot.id IS NOT NULL THEN
      BEGIN
        v_booking := take_place(p_actor, v_slot, v_prebooking, p_now);
      EXCEPTION
        WHEN SQLSTATE 'SB002' OR SQLSTATE 'SB003' OR SQLSTATE 'SB004' OR SQLSTATE 'SB008' OR SQLSTATE 'SB011'
          OR SQLSTATE 'SB015' OR SQLSTATE 'SB018'
        THEN
          v_reason := SQLERRM;
      END;
    END IF;
    INSERT INTO prebooking_attempts (prebooking_id, choice, finding, started_at, fired_at, ended_at)
    VALUES (p_prebooking_id, v_choice, COALESCE(v_reason, 'booked'), p_now, p_now, p_now);
    EXIT WHEN v_reason IS NULL;
    v_prebooking.reason := COALESCE(v_prebooking.reason, v_reason);
  END LOOP;

  UPDATE prebookings p
  SET status = CASE WHEN v_booking.id IS NULL THEN 'failed' ELSE 'succeeded' END,
      booking_id = v_booking.id,
      booked_choice = CASE WHEN v_booking.id IS NOT NULL THEN array_position(v_prebooking.starts_at, v_booking.starts_at) END,
      reason = CASE WHEN v_booking.id IS NULL THEN v_prebooking.reason END,
      waitlist_entry_id = CASE WHEN v_booking.id IS NULL THEN wait_in_line(v_prebooking, p_now) END,
      fired_at = p_now,
      lateness_ms = LEAST(extract(epoch FROM p_now - p.opens_at) * 1000, 2147483647),
      updated_at = p_now
  WHERE p.id = p_prebooking_id
  RETURNING p.status INTO v_prebooking.status;
  RETURN v_prebooking.status;
END
$$
