-- Promises: the instants of wall-clock times at a resource that are still to come, in the order given.
-- Called by create_prebooking. Raises: SB025 invalid_target for one that the clocks skip, or that is past.
CREATE OR REPLACE FUNCTION target_starts(p_resource_id uuid, p_targets jsonb, p_now timestamptz DEFAULT now())
RETURNS timestamptz[]
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_starts timestamptz[] := local_starts(p_resource_id, p_targets);
  v_wrong integer;
BEGIN
  SELECT min(s.choice) INTO v_wrong
  FROM unnest(v_starts) WITH ORDINALITY AS s (starts_at, choice)
  WHERE COALESCE(s.starts_at <= p_now, true);
  IF v_wrong IS NOT NULL THEN
    RAISE EXCEPTION 'invalid_target' USING ERRCODE = 'SB025',
      DETAIL = json_build_object('target', p_targets -> v_wrong - 1, 'starts_at', v_starts[v_wrong]);
  END IF;
  RETURN v_starts;
END
$$
