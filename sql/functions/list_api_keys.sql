-- Promises: every key, newest first, never its hash. Called by `holdfast keys list`.
CREATE OR REPLACE FUNCTION list_api_keys()
RETURNS TABLE (key_id uuid, name text, prefix text, scopes text[], created_at timestamptz, revoked_at timestamptz)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT k.id, k.name, k.prefix, k.scopes, k.created_at, k.revoked_at FROM api_keys k ORDER BY k.created_at DESC
$$
