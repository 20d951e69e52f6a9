-- Promises: one resource as the API answers it. Called by GET /v1/resources/{id}. Raises: SB009 resource_not_found.
CREATE OR REPLACE FUNCTION get_resource(p_resource_id uuid)
RETURNS TABLE (resource_id uuid, resource_version integer, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY SELECT r.id, r.version, resource_json(r) FROM resources r WHERE r.id = p_resource_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'resource_not_found' USING ERRCODE = 'SB009',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;
END
$$
