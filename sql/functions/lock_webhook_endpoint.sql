-- Promises: the endpoint's row, locked until the transaction ends. Called by the functions that change one.
-- Locks: endpoint. Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION lock_webhook_endpoint(p_endpoint_id uuid)
RETURNS webhook_endpoints
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints;
BEGIN
  SELECT * INTO v_endpoint FROM webhook_endpoints e WHERE e.id = p_endpoint_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'webhook_endpoint_not_found' USING ERRCODE = 'SB027',
      DETAIL = json_build_object('endpoint_id', p_endpoint_id);
  END IF;
  RETURN v_endpoint;
END
$$
