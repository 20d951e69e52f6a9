-- Promises: from now on the events that the endpoint wants are delivered there, signed with this secret.
-- Called by POST /v1/webhook-endpoints, with what it encrypted for that id.
CREATE OR REPLACE FUNCTION create_webhook_endpoint(
  p_actor jsonb,
  p_endpoint_id uuid,
  p_url text,
  p_event_types text[],
  p_description text,
  p_key_id text,
  p_nonce bytea,
  p_ciphertext bytea,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (endpoint_id uuid, endpoint_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO webhook_endpoints (id, url, event_types, description, created_at, updated_at)
  VALUES (p_endpoint_id, p_url, p_event_types, p_description, p_now, p_now)
  RETURNING * INTO v_endpoint;
  INSERT INTO webhook_secrets (endpoint_id, key_id, nonce, ciphertext, created_at)
  VALUES (p_endpoint_id, p_key_id, p_nonce, p_ciphertext, p_now);
  RETURN QUERY SELECT v_endpoint.id, v_endpoint.version, webhook_endpoint_json(v_endpoint);
END
$$
