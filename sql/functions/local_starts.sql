-- Promises: the instants of wall-clock times at a resource, in the order given; NULL for one that the clocks skip.
-- Called by target_starts and move_targets.
CREATE OR REPLACE FUNCTION local_starts(p_resource_id uuid, p_targets jsonb)
RETURNS timestamptz[]
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT array_agg(
      slot_instant(
        (t.target ->> 'starts_at_local')::timestamp, make_interval(mins => COALESCE(c.slot_minutes, 60)), r.timezone
      )
      ORDER BY t.choice
    )
    FROM jsonb_array_elements(p_targets) WITH ORDINALITY AS t (target, choice)
    JOIN resources r ON r.id = p_resource_id
    LEFT JOIN schedules c ON c.resource_id = r.id
  );
END
$$
