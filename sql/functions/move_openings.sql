-- Promises: prebookings that wait fire when booking opens by the rules as they are now, unless they were told when; those
-- for which it is open before and after keep their order. Called by triggers schedules_move_openings and
-- providers_move_openings, whoever writes. Locks: the prebookings that move, then their jobs.
CREATE OR REPLACE FUNCTION move_openings()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_rules jsonb := to_jsonb(NEW);
  -- not every writer says when
  v_now timestamptz := GREATEST(NEW.updated_at, now());
BEGIN
  UPDATE prebookings p
  SET opens_at = o.opens_at, updated_at = v_now
  FROM (
    SELECT w.id, GREATEST(opening_of(w.resource_id, w.provider, w.targets, w.starts_at), v_now) AS opens_at
    FROM prebookings w
    WHERE (w.resource_id = (v_rules ->> 'resource_id')::uuid OR w.provider = v_rules ->> 'name')
      AND w.status = 'pending' AND NOT w.is_opening_given
  ) o
  WHERE p.id = o.id AND p.status = 'pending' AND p.opens_at <> o.opens_at
    AND GREATEST(p.opens_at, o.opens_at) > v_now;
  RETURN NULL;
END
$$
