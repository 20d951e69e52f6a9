-- Promises: keys with that prefix open nothing any more. Called by `holdfast keys revoke`. Answers how many it ended.
CREATE OR REPLACE FUNCTION revoke_api_key(p_actor jsonb, p_prefix text, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_revoked integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE api_keys k SET revoked_at = p_now WHERE k.prefix = p_prefix AND k.revoked_at IS NULL;
  GET DIAGNOSTICS v_revoked = ROW_COUNT;
  RETURN v_revoked;
END
$$
