-- Promises: what is given replaces what was stored, if nobody changed the resource since the caller read it.
-- Another time zone moves what its schedule makes. Called by PATCH /v1/resources/{id}.
-- Locks: resource, then what refresh_future_schedule locks. Raises: SB009 resource_not_found, SB006 version_conflict,
-- 22023 for a time zone Postgres does not know.
CREATE OR REPLACE FUNCTION update_resource(
  p_actor jsonb,
  p_resource_id uuid,
  p_version integer,
  p_name text DEFAULT NULL,
  p_timezone text DEFAULT NULL,
  p_metadata jsonb DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (resource_id uuid, resource_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_resource resources;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  SELECT * INTO v_resource FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'resource_not_found' USING ERRCODE = 'SB009',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;
  IF v_resource.version <> p_version THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('resource_id', p_resource_id, 'current_version', v_resource.version);
  END IF;

  UPDATE resources r
  SET name = COALESCE(p_name, r.name),
      timezone = COALESCE(p_timezone, r.timezone),
      metadata = COALESCE(p_metadata, r.metadata),
      version = r.version + 1,
      updated_at = p_now
  WHERE r.id = p_resource_id
  RETURNING * INTO v_resource;
  IF p_timezone IS NOT NULL AND EXISTS (SELECT FROM schedules c WHERE c.resource_id = p_resource_id) THEN
    -- nine o'clock is another instant now
    PERFORM refresh_future_schedule(p_actor, p_resource_id, p_now);
  END IF;
  RETURN QUERY SELECT v_resource.id, v_resource.version, resource_json(v_resource);
END
$$
