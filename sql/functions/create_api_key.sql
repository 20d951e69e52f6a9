-- Promises: a key is known by its hash alone, and opens nothing once p_expires_in is over. Called by `holdfast keys create`,
-- POST /v1/api-keys and rotate_api_key. Raises: 23514 for an unknown scope.
CREATE OR REPLACE FUNCTION create_api_key(
  p_actor jsonb,
  p_name text,
  p_prefix text,
  p_key_hash bytea,
  p_scopes text[],
  p_now timestamptz DEFAULT now(),
  p_expires_in interval DEFAULT NULL
)
RETURNS TABLE (key_id uuid, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_key api_keys;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO api_keys (name, prefix, key_hash, scopes, created_at, expires_at)
  VALUES (p_name, p_prefix, p_key_hash, p_scopes, p_now, p_now + p_expires_in)
  RETURNING * INTO v_key;
  RETURN QUERY SELECT v_key.id, api_key_json(v_key);
END
$$
