-- Promises: the one JSON shape of a resource. Called by every function that answers a resource.
CREATE OR REPLACE FUNCTION resource_json(p_resource resources)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_resource.id,
    'name', p_resource.name,
    'timezone', p_resource.timezone,
    'metadata', p_resource.metadata,
    'version', p_resource.version,
    'created_at', p_resource.created_at,
    'updated_at', p_resource.updated_at
  );
END
$$
