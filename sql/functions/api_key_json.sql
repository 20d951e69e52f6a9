-- Promises: the one JSON shape of an API key, without its hash. Called by the functions that answer keys.
CREATE OR REPLACE FUNCTION api_key_json(p_key api_keys)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_key.id,
    'name', p_key.name,
    'prefix', p_key.prefix,
    'scopes', p_key.scopes,
    'created_at', p_key.created_at,
    'expires_at', p_key.expires_at,
    'last_used_at', p_key.last_used_at,
    'revoked_at', p_key.revoked_at
  );
END
$$
