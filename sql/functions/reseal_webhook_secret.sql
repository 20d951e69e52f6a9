-- Promises: the webhook secret is under the key p_key_id, unless its ciphertext is not the one that was read; answers
-- whether it is. Called by `holdfast keys rotate`. Locks: secret.
CREATE OR REPLACE FUNCTION reseal_webhook_secret(
  p_actor jsonb, p_secret_id uuid, p_old_nonce bytea, p_key_id text, p_nonce bytea, p_ciphertext bytea
)
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- a nonce is never used twice, so it stands for its ciphertext
  UPDATE webhook_secrets s
  SET key_id = p_key_id, nonce = p_nonce, ciphertext = p_ciphertext
  WHERE s.id = p_secret_id AND s.nonce = p_old_nonce;
  RETURN FOUND;
END
$$
