-- Promises: credentials as they are stored, whose they are, and the provider they are for; no row where they are gone.
-- Called by the handler that checks them.
CREATE OR REPLACE FUNCTION stored_credentials(p_credentials_id uuid)
RETURNS TABLE (
  credentials_id uuid,
  credentials_version integer,
  provider text,
  customer_ref text,
  key_id text,
  nonce bytea,
  ciphertext bytea,
  adapter text,
  settings jsonb,
  is_enabled boolean
)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT c.id, c.version, c.provider, u.ref, c.key_id, c.nonce, c.ciphertext, p.adapter, p.settings, p.is_enabled
  FROM provider_credentials c
  JOIN customers u ON u.id = c.customer_id
  JOIN providers p ON p.name = c.provider
  WHERE c.id = p_credentials_id
$$
