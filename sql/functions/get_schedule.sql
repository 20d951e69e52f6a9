-- Promises: the rules of a resource, with its exceptions from today on. Called by GET /v1/resources/{id}/schedule.
-- Raises: SB009 resource_not_found, SB016 schedule_not_found.
CREATE OR REPLACE FUNCTION get_schedule(p_resource_id uuid, p_now timestamptz DEFAULT now())
RETURNS TABLE (schedule_version integer, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM get_resource(p_resource_id);
  RETURN QUERY
    SELECT c.version, (
      to_jsonb(c) || jsonb_build_object(
        'opens_at_local', to_char(c.opens_at_local, 'HH24:MI'),
        'timezone', r.timezone,
        'exceptions', COALESCE(
          (
            SELECT jsonb_agg(jsonb_build_object('date', e.date, 'hours', e.hours) ORDER BY e.date)
            FROM schedule_exceptions e
            WHERE e.resource_id = p_resource_id AND e.date >= (p_now AT TIME ZONE r.timezone)::date
          ),
          '[]'
        )
      )
    )::json
    FROM schedules c
    JOIN resources r ON r.id = c.resource_id
    WHERE c.resource_id = p_resource_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'schedule_not_found' USING ERRCODE = 'SB016',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;
END
$$
