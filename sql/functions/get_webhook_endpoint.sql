-- Promises: one webhook endpoint as the API answers it. Called by GET /v1/webhook-endpoints/{id}.
-- Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION get_webhook_endpoint(p_endpoint_id uuid)
RETURNS TABLE (endpoint_id uuid, endpoint_version integer, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY SELECT e.id, e.version, webhook_endpoint_json(e) FROM webhook_endpoints e WHERE e.id = p_endpoint_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'webhook_endpoint_not_found' USING ERRCODE = 'SB027',
      DETAIL = json_build_object('endpoint_id', p_endpoint_id);
  END IF;
END
$$
