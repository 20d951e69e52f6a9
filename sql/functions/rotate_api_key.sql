-- Promises: a new key of the same name, scopes and lifetime; the old one opens what it did until p_overlap is over, or its
-- own end comes. Called by `holdfast keys rotate-api-key` and POST /v1/api-keys/{id}/rotate. Locks: key.
-- Raises: SB038 api_key_not_found, SB039 api_key_ended.
CREATE OR REPLACE FUNCTION rotate_api_key(
  p_actor jsonb,
  p_key_id uuid,
  p_prefix text,
  p_key_hash bytea,
  p_overlap interval DEFAULT '24 hours',
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_old api_keys := lock_api_key(p_key_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF v_old.revoked_at IS NOT NULL OR v_old.expires_at <= p_now THEN
    RAISE EXCEPTION 'api_key_ended' USING ERRCODE = 'SB039', DETAIL = json_build_object(
      'api_key_id', p_key_id, 'revoked_at', v_old.revoked_at, 'expires_at', v_old.expires_at
    );
  END IF;
  UPDATE api_keys k
  SET expires_at = LEAST(k.expires_at, p_now + p_overlap)
  WHERE k.id = p_key_id;
  RETURN (
    SELECT c.body
    FROM create_api_key(
      p_actor, v_old.name, p_prefix, p_key_hash, v_old.scopes, p_now, v_old.expires_at - v_old.created_at
    ) c
  );
END
$$
