-- Promises: prebookings of a resource whose opening has come get their places, one after the other: by opening, then in
-- the order of their creation or of the draw. At most p_limit; answers how many, and how many are left. If the slots of
-- a new day are not there yet, that day is made and everything is left: the call after it finds them.
-- Called by the handler of run_openings, until nothing is left. Locks: resource and schedule (shared), prebookings, slots
-- and customers by id, then the new bookings and their jobs; for a new day what refresh_future_schedule locks.
CREATE OR REPLACE FUNCTION run_openings(
  p_actor jsonb, p_resource_id uuid, p_limit integer, p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS TABLE (succeeded integer, failed integer, remaining bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due uuid[] := ARRAY[]::uuid[];
  v_id uuid;
  v_status text;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  succeeded := 0;
  failed := 0;
  -- in a transaction of its own: prebookings after slots would be out of order
  IF EXISTS (
    SELECT FROM jobs j
    WHERE j.dedupe_key = p_resource_id::text AND j.job_type = 'refresh_schedule' AND j.status = 'pending'
      AND j.run_at <= p_now
  ) THEN
    PERFORM refresh_future_schedule(p_actor, p_resource_id, p_now);
  ELSE
    -- whoever changes the rules waits, for what they move is locked in another order
    PERFORM FROM resources r WHERE r.id = p_resource_id FOR SHARE;
    PERFORM FROM schedules c WHERE c.resource_id = p_resource_id FOR SHARE;
    PERFORM draw_lots(p_resource_id, p_now);
    v_due := ARRAY(
      SELECT p.id
      FROM prebookings p
      LEFT JOIN lottery_draws d
        ON d.resource_id = p.resource_id AND d.opens_at = p.opens_at AND p.created_at < d.opens_at
      WHERE p.resource_id = p_resource_id AND p.status = 'pending' AND p.opens_at <= p_now
      ORDER BY p.opens_at, lot_of(d.seed, p.id), p.place_in_line
      LIMIT p_limit
      FOR NO KEY UPDATE OF p
    );
  END IF;
  PERFORM
  FROM slots s
  JOIN prebookings p ON p.id = ANY (v_due)
  WHERE s.resource_id = p_resource_id AND s.starts_at = ANY (p.starts_at)
  ORDER BY s.id
  FOR NO KEY UPDATE OF s;
  PERFORM
  FROM customers c
  WHERE c.id IN (SELECT p.customer_id FROM prebookings p WHERE p.id = ANY (v_due))
  ORDER BY c.id
  FOR NO KEY UPDATE;

  FOREACH v_id IN ARRAY v_due LOOP
    v_status := book_first_choice(p_actor, v_id, p_now);
    succeeded := succeeded + (v_status = 'succeeded')::integer;
    failed := failed + (v_status = 'failed')::integer;
  END LOOP;
  SELECT count(*) INTO remaining
  FROM prebookings p
  WHERE p.resource_id = p_resource_id AND p.status = 'pending' AND p.opens_at <= p_now;
  RETURN NEXT;
END
$$
