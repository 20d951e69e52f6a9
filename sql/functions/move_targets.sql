-- Promises: prebookings that wait at a resource mean the same wall-clock times in its new time zone, and fire when booking
-- opens there; a time that the new zone's clocks skip stays the instant it was. Called by trigger resources_move_targets,
-- whoever writes. Locks: the prebookings, then their jobs.
CREATE OR REPLACE FUNCTION move_targets()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- not every writer says when
  v_now timestamptz := GREATEST(NEW.updated_at, now());
BEGIN
  UPDATE prebookings p
  SET starts_at = o.starts_at,
      opens_at = CASE WHEN GREATEST(p.opens_at, o.opens_at) > v_now THEN o.opens_at ELSE p.opens_at END,
      updated_at = v_now
  FROM (
    SELECT m.id, m.starts_at, GREATEST(opening_of(NEW.id, NULL, m.targets, m.starts_at), v_now) AS opens_at
    FROM (
      SELECT w.id, w.targets, ARRAY(
        SELECT COALESCE(s.starts_at, w.starts_at[s.choice])
        FROM unnest(local_starts(NEW.id, w.targets)) WITH ORDINALITY AS s (starts_at, choice)
        ORDER BY s.choice
      ) AS starts_at
      FROM prebookings w
      WHERE w.resource_id = NEW.id AND w.status = 'pending'
    ) m
  ) o
  WHERE p.id = o.id AND p.status = 'pending';
  RETURN NULL;
END
$$
