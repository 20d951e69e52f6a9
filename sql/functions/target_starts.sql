-- Promises: the instants of wall-clock times at a resource, in the order given. Called by create_prebooking.
-- Raises: SB025 invalid_target for one that the clocks skip, or that is past.
CREATE OR REPLACE FUNCTION target_starts(p_resource_id uuid, p_targets jsonb, p_now timestamptz DEFAULT now())
RETURNS timestamptz[]
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_starts timestamptz[];
  v_wrong integer;
BEGIN
  SELECT array_agg(
    slot_instant((t.target ->> 'starts_at_local')::timestamp, make_interval(mins => COALESCE(c.slot_minutes, 60)), r.timezone)
    ORDER BY t.position
  ) INTO v_starts
  FROM jsonb_array_elements(p_targets) WITH ORDINALITY AS t (target, position)
  JOIN resources r ON r.id = p_resource_id
  LEFT JOIN schedules c ON c.resource_id = r.id;

  SELECT min(s.position) INTO v_wrong
  FROM unnest(v_starts) WITH ORDINALITY AS s (starts_at, position)
  WHERE COALESCE(s.starts_at <= p_now, true);
  IF v_wrong IS NOT NULL THEN
    RAISE EXCEPTION 'invalid_target' USING ERRCODE = 'SB025',
      DETAIL = json_build_object('target', p_targets -> v_wrong - 1, 'starts_at', v_starts[v_wrong]);
  END IF;
  RETURN v_starts;
END
$$
