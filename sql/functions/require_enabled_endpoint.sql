-- Promises: the endpoint, and returns only if it is enabled. Called by replay_delivery and replay_events.
-- Raises: SB027 webhook_endpoint_not_found, SB029 webhook_endpoint_disabled.
CREATE OR REPLACE FUNCTION require_enabled_endpoint(p_endpoint_id uuid)
RETURNS webhook_endpoints
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints;
BEGIN
  PERFORM get_webhook_endpoint(p_endpoint_id);
  SELECT * INTO v_endpoint FROM webhook_endpoints e WHERE e.id = p_endpoint_id;
  IF NOT v_endpoint.is_enabled THEN
    RAISE EXCEPTION 'webhook_endpoint_disabled' USING ERRCODE = 'SB029',
      DETAIL = json_build_object('endpoint_id', p_endpoint_id, 'disabled_reason', v_endpoint.disabled_reason);
  END IF;
  RETURN v_endpoint;
END
$$
