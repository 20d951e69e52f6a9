-- Promises: a new resource. Called by POST /v1/resources. Raises: 22023 for a time zone Postgres does not know.
CREATE OR REPLACE FUNCTION create_resource(
  p_actor jsonb, p_name text, p_timezone text, p_metadata jsonb DEFAULT '{}', p_now timestamptz DEFAULT now()
)
RETURNS TABLE (resource_id uuid, resource_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_resource resources;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO resources (name, timezone, metadata, created_at, updated_at)
  VALUES (p_name, p_timezone, p_metadata, p_now, p_now)
  RETURNING * INTO v_resource;
  RETURN QUERY SELECT v_resource.id, v_resource.version, resource_json(v_resource);
END
$$
