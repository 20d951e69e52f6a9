-- Promises: the key's row, locked until the transaction ends. Called by the functions that change one key.
-- Locks: key. Raises: SB038 api_key_not_found.
CREATE OR REPLACE FUNCTION lock_api_key(p_key_id uuid)
RETURNS api_keys
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_key api_keys;
BEGIN
  SELECT * INTO v_key FROM api_keys k WHERE k.id = p_key_id FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'api_key_not_found'
      USING ERRCODE = 'SB038', DETAIL = json_build_object('api_key_id', p_key_id);
  END IF;
  RETURN v_key;
END
$$
