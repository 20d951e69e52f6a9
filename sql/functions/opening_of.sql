-- Promises: when booking opens for the first target, by the rules of the resource or of the provider; NULL where nothing
-- says so. Called by create_prebooking and move_openings.
CREATE OR REPLACE FUNCTION opening_of(p_resource_id uuid, p_provider text, p_targets jsonb, p_starts timestamptz[])
RETURNS timestamptz
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_provider IS NULL THEN
    RETURN (
      SELECT slot_opens_at(p_starts[1], r.timezone, c.booking_window_days, c.opens_at_local)
      FROM resources r
      JOIN schedules c ON c.resource_id = r.id
      WHERE r.id = p_resource_id
    );
  END IF;
  RETURN (
    SELECT ((p_targets -> 0 ->> 'date')::date - p.booking_window_days + p.opens_at_local) AT TIME ZONE p.timezone
    FROM providers p
    WHERE p.name = p_provider
  );
END
$$
