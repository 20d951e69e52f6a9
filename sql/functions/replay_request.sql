-- Promises: the stored answer of an earlier request with this idempotency key; NULL where the key is new or absent.
-- Called by write functions AFTER they have locked their first row: twins of one request queue there, so the second
-- sees the first one's answer, and the lock makes the replay's commit wait for what it repeats to be durable.
-- Raises: SB010 idempotency_conflict (the key was used for a request with another body).
CREATE OR REPLACE FUNCTION replay_request(p_principal text, p_operation text, p_key text, p_request_hash bytea)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_request idempotency_keys;
BEGIN
  IF p_key IS NULL THEN
    RETURN NULL;
  END IF;

  SELECT * INTO v_request
  FROM idempotency_keys k
  WHERE k.principal = p_principal AND k.operation = p_operation AND k.key = p_key;

  IF FOUND AND v_request.request_hash <> p_request_hash THEN
    RAISE EXCEPTION 'idempotency_conflict' USING ERRCODE = 'SB010',
      DETAIL = json_build_object('first_used_at', v_request.created_at);
  END IF;
  RETURN v_request.response;
END
$$
