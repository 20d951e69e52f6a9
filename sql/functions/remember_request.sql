-- Promises: the answer is kept under its idempotency key, if it has one, in the transaction that did the work.
-- Called by write functions as their last step. Only success is kept: a refusal rolls back and may be tried again.
-- Raises: SB010 idempotency_conflict (a request with another body took the key meanwhile).
CREATE OR REPLACE FUNCTION remember_request(
  p_principal text, p_operation text, p_key text, p_request_hash bytea, p_response json, p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_key IS NULL THEN
    RETURN;
  END IF;

  INSERT INTO idempotency_keys (principal, operation, key, request_hash, response, created_at)
  VALUES (p_principal, p_operation, p_key, p_request_hash, p_response, p_now)
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'idempotency_conflict' USING ERRCODE = 'SB010', DETAIL = '{}';
  END IF;
END
$$
