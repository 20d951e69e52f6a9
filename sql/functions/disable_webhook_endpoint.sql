-- Promises: nothing is delivered to the endpoint any more, for this reason; one that is disabled stays as it is.
-- Called by DELETE /v1/webhook-endpoints/{id} and end_delivery, whose transaction says who acts.
-- Locks: endpoint. Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION disable_webhook_endpoint(
  p_actor jsonb, p_endpoint_id uuid, p_reason text DEFAULT 'by_hand', p_now timestamptz DEFAULT now()
)
RETURNS TABLE (endpoint_id uuid, endpoint_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints := lock_webhook_endpoint(p_endpoint_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF v_endpoint.is_enabled THEN
    UPDATE webhook_endpoints e
    SET is_enabled = false, disabled_reason = p_reason, version = e.version + 1, updated_at = p_now
    WHERE e.id = p_endpoint_id
    RETURNING * INTO v_endpoint;
  END IF;
  RETURN QUERY SELECT v_endpoint.id, v_endpoint.version, webhook_endpoint_json(v_endpoint);
END
$$
