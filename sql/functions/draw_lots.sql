-- Promises: each opening that has come at a resource whose policy is the lottery has its seed, drawn once, on record, and
-- not before anybody could still join. Called by run_openings. Locks: the draw, until the transaction ends.
CREATE OR REPLACE FUNCTION draw_lots(p_resource_id uuid, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  INSERT INTO lottery_draws (resource_id, opens_at, seed, entries, drawn_at)
  SELECT p_resource_id, p.opens_at, gen_random_uuid()::text, count(*), p_now
  FROM prebookings p
  JOIN schedules c ON c.resource_id = p.resource_id
  WHERE p.resource_id = p_resource_id AND c.opening_policy = 'lottery'
    AND p.status = 'pending' AND p.opens_at <= p_now AND p.created_at < p.opens_at
  GROUP BY p.opens_at
  ON CONFLICT DO NOTHING;
END
$$
