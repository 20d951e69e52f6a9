-- Promises: the endpoint has this secret; those it had sign beside it until p_overlap is over, or their own end comes.
-- Called by POST /v1/webhook-endpoints/{id}/rotate-secret, with what it encrypted for that id.
-- Locks: endpoint, secrets. Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION rotate_webhook_secret(
  p_actor jsonb,
  p_endpoint_id uuid,
  p_key_id text,
  p_nonce bytea,
  p_ciphertext bytea,
  p_overlap interval DEFAULT '24 hours',
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints := lock_webhook_endpoint(p_endpoint_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE webhook_secrets s
  SET expires_at = p_now + p_overlap
  WHERE s.endpoint_id = p_endpoint_id AND s.expires_at IS NULL;
  INSERT INTO webhook_secrets (endpoint_id, key_id, nonce, ciphertext, created_at)
  VALUES (p_endpoint_id, p_key_id, p_nonce, p_ciphertext, p_now);
  RETURN webhook_endpoint_json(v_endpoint);
END
$$
