-- Promises: the one JSON shape of credentials, without anything of the secret.
-- Called by put_credentials and list_credentials.
CREATE OR REPLACE FUNCTION credentials_json(p_credentials provider_credentials, p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'provider', p_credentials.provider,
    'customer_ref', p_customer_ref,
    'status', p_credentials.status,
    'checked_at', p_credentials.checked_at,
    'check_detail', p_credentials.check_detail,
    'created_at', p_credentials.created_at,
    'updated_at', p_credentials.updated_at
  );
END
$$
