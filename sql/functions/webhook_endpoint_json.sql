-- Promises: the one JSON shape of a webhook endpoint, without its secrets.
-- Called by the functions that answer endpoints.
CREATE OR REPLACE FUNCTION webhook_endpoint_json(p_endpoint webhook_endpoints)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_endpoint.id,
    'url', p_endpoint.url,
    'event_types', p_endpoint.event_types,
    'description', p_endpoint.description,
    'is_enabled', p_endpoint.is_enabled,
    'disabled_reason', p_endpoint.disabled_reason,
    'failing_since', p_endpoint.failing_since,
    'version', p_endpoint.version,
    'created_at', p_endpoint.created_at,
    'updated_at', p_endpoint.updated_at
  );
END
$$
