-- Promises: the customer has no credentials at the provider any more. Called by DELETE /v1/credentials/{provider}.
-- A job that was to check them finds nothing. Locks: credentials. Raises: SB023 credentials_not_found.
CREATE OR REPLACE FUNCTION delete_credentials(p_actor jsonb, p_provider text, p_customer_ref text)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_ref text := own_customer(p_actor, jsonb_build_object('ref', p_customer_ref)) ->> 'ref';
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  DELETE FROM provider_credentials c
  WHERE c.provider = p_provider AND c.customer_id = (SELECT u.id FROM customers u WHERE u.ref = v_ref);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'credentials_not_found' USING ERRCODE = 'SB023',
      DETAIL = json_build_object('provider', p_provider, 'customer_ref', v_ref);
  END IF;
END
$$
