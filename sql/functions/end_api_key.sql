-- Promises: that key opens nothing any more; one that was revoked before stays as it is.
-- Called by POST /v1/api-keys/{id}/revoke. Locks: key. Raises: SB038 api_key_not_found.
CREATE OR REPLACE FUNCTION end_api_key(p_actor jsonb, p_key_id uuid, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_key api_keys := lock_api_key(p_key_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF v_key.revoked_at IS NULL THEN
    UPDATE api_keys k SET revoked_at = p_now WHERE k.id = p_key_id RETURNING * INTO v_key;
  END IF;
  RETURN api_key_json(v_key);
END
$$
