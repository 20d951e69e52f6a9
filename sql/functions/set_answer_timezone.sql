-- Promises: JSON made later in this transaction shows its times in that zone; without one in the zone that all of these
-- resources share, else in UTC. Answers the zone. Called by available_slots, given_slots and add_slots.
-- Raises: SB009 resource_not_found, 22023 for an unknown time zone.
CREATE OR REPLACE FUNCTION set_answer_timezone(p_resource_ids uuid[], p_tz text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_timezones text[] := ARRAY(SELECT r.timezone FROM resources r WHERE r.id = ANY (p_resource_ids));
  v_timezone text;
BEGIN
  IF cardinality(v_timezones) < cardinality(p_resource_ids) THEN
    RAISE EXCEPTION 'resource_not_found' USING ERRCODE = 'SB009',
      DETAIL = (
        SELECT json_build_object('resource_id', min(g::text))
        FROM unnest(p_resource_ids) g
        WHERE NOT EXISTS (SELECT FROM resources r WHERE r.id = g)
      );
  END IF;
  v_timezone := COALESCE(p_tz, CASE WHEN v_timezones[1] = ALL (v_timezones) THEN v_timezones[1] END, 'UTC');
  -- JSON renders timestamptz in the transaction's zone: the offset comes out right for each date
  PERFORM set_config('TimeZone', v_timezone, true);
  RETURN v_timezone;
END
$$
