-- Promises: every key, newest first, never its hash. Called by `holdfast keys` and GET /v1/api-keys.
CREATE OR REPLACE FUNCTION list_api_keys()
RETURNS TABLE (
  key_id uuid, name text, prefix text, scopes text[], created_at timestamptz, revoked_at timestamptz, body json
)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT k.id, k.name, k.prefix, k.scopes, k.created_at, k.revoked_at, api_key_json(k)
  FROM api_keys k
  ORDER BY k.created_at DESC, k.id
$$
