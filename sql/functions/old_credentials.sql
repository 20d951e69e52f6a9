-- Promises: the next credentials, by id, that are not under the key p_key_id. Called by `holdfast keys rotate`.
CREATE OR REPLACE FUNCTION old_credentials(p_key_id text, p_after uuid, p_limit integer)
RETURNS TABLE (
  credentials_id uuid, provider text, customer_ref text, key_id text, nonce bytea, ciphertext bytea
)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT c.id, c.provider, u.ref, c.key_id, c.nonce, c.ciphertext
  FROM provider_credentials c
  JOIN customers u ON u.id = c.customer_id
  WHERE c.key_id <> p_key_id AND c.id > p_after
  ORDER BY c.id
  LIMIT p_limit
$$
