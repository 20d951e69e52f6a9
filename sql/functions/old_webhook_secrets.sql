-- Promises: the webhook secrets that are not under the key p_key_id. Called by `holdfast keys rotate`.
CREATE OR REPLACE FUNCTION old_webhook_secrets(p_key_id text)
RETURNS TABLE (secret_id uuid, endpoint_id uuid, key_id text, nonce bytea, ciphertext bytea)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT s.id, s.endpoint_id, s.key_id, s.nonce, s.ciphertext FROM webhook_secrets s WHERE s.key_id <> p_key_id
$$
