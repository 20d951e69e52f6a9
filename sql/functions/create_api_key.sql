-- Promises: a key is known by its hash alone. Called by `holdfast keys create`. Raises: 23514 for an unknown scope.
CREATE OR REPLACE FUNCTION create_api_key(
  p_actor jsonb, p_name text, p_prefix text, p_key_hash bytea, p_scopes text[], p_now timestamptz DEFAULT now()
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_id uuid;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO api_keys (name, prefix, key_hash, scopes, created_at)
  VALUES (p_name, p_prefix, p_key_hash, p_scopes, p_now)
  RETURNING id INTO v_id;
  RETURN v_id;
END
$$
