-- Promises: the slots of a resource that start in [p_from, p_to), with the times in that zone, legacy ones hidden.
-- Called by GET /v1/available-slots. Raises: SB009 resource_not_found, 22023 for an unknown time zone.
CREATE OR REPLACE FUNCTION available_slots(
  p_resource_id uuid,
  p_from timestamptz,
  p_to timestamptz,
  p_tz text DEFAULT NULL,
  p_units integer DEFAULT 1,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_timezone text;
BEGIN
  SELECT r.timezone INTO v_timezone FROM resources r WHERE r.id = p_resource_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'resource_not_found' USING ERRCODE = 'SB009',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;

  -- JSON renders timestamptz in the transaction's zone: the offset comes out right for each date
  PERFORM set_config('TimeZone', COALESCE(p_tz, v_timezone), true);
  RETURN json_build_object(
    'resource_id', p_resource_id,
    'timezone', COALESCE(p_tz, v_timezone),
    'slots', COALESCE(
      (
        SELECT json_agg(slot_json(s, p_units, p_now) ORDER BY s.starts_at, s.ends_at)
        FROM slots s
        WHERE s.resource_id = p_resource_id
          AND s.starts_at >= p_from AND s.starts_at < p_to
          AND NOT s.is_legacy
      ),
      '[]'
    )
  );
END
$$
