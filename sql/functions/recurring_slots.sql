-- Promises: the times of each occurrence of a series that begins with this slot, and the open slot that has them, or
-- none: same resource, same length, same wall-clock time every so many days; NULL times where the clocks skip them.
-- Called by create_recurring_bookings.
CREATE OR REPLACE FUNCTION recurring_slots(p_slot slots, p_every_days integer, p_count integer)
RETURNS TABLE (occurrence integer, local_start timestamp, slot_id uuid)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_timezone text := (SELECT r.timezone FROM resources r WHERE r.id = p_slot.resource_id);
  v_length interval := p_slot.ends_at - p_slot.starts_at;
BEGIN
  RETURN QUERY
    SELECT n + 1, w.local_start, s.id
    FROM generate_series(0, p_count - 1) n
    CROSS JOIN LATERAL (
      SELECT p_slot.starts_at AT TIME ZONE v_timezone + make_interval(days => n * p_every_days) AS local_start
    ) w
    CROSS JOIN LATERAL (
      -- the first is the slot itself, whichever pass of a time that comes twice it stands in
      SELECT CASE WHEN n = 0 THEN p_slot.starts_at ELSE slot_instant(w.local_start, v_length, v_timezone) END AS at
    ) i
    LEFT JOIN slots s ON s.resource_id = p_slot.resource_id AND s.starts_at = i.at
      -- lengths, not ends: the end of a day that is added is the session's
      AND s.ends_at - s.starts_at = v_length
    ORDER BY n;
END
$$
