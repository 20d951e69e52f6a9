-- Promises: p_cost requests of that principal count against p_quota a window, whichever process had them; answers how many are
-- left (below 1: none) and in how many seconds all are back. A bucket that leaks evenly, as one instant (GCRA).
-- Called by every process for each twentieth of a quota. Locks: the one row, in its one statement.
CREATE OR REPLACE FUNCTION spend_rate_limit(
  p_principal text,
  p_policy text,
  p_cost integer,
  p_quota integer,
  p_window interval DEFAULT '1 minute',
  p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS TABLE (remaining integer, reset_seconds double precision)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_spent_until timestamptz;
  v_spent interval := p_window * (p_cost::double precision / p_quota);
  v_window double precision := extract(epoch FROM p_window);
BEGIN
  INSERT INTO rate_limits AS r (principal, policy, spent_until)
  VALUES (p_principal, p_policy, p_now + v_spent)
  ON CONFLICT (principal, policy) DO UPDATE
    SET spent_until = GREATEST(r.spent_until, p_now) + v_spent
  RETURNING r.spent_until INTO v_spent_until;
  reset_seconds := extract(epoch FROM v_spent_until - p_now);
  -- an interval ends at microseconds: a twentieth of a request is no request missing
  remaining := floor((v_window - reset_seconds) / v_window * p_quota + 0.05);
  RETURN NEXT;
END
$$
