-- Promises: the live key with that hash, or no row. Called by every authenticated request (cached for a second).
CREATE OR REPLACE FUNCTION find_api_key(p_key_hash bytea, p_now timestamptz DEFAULT now())
RETURNS TABLE (key_id uuid, scopes text[])
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT k.id, k.scopes
  FROM api_keys k
  WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > p_now)
$$
