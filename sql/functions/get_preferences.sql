-- Promises: how a customer wants to be told; the defaults for one who is not known yet.
-- Called by GET /v1/customers/{ref}/preferences and put_preferences.
CREATE OR REPLACE FUNCTION get_preferences(p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM act_for(p_customer_ref);
  RETURN (
    SELECT json_build_object(
      'customer_ref', p_customer_ref,
      'language', c.language,
      'timezone', c.timezone,
      'email_opt_out', COALESCE(c.email_opt_out, false),
      'sms_opt_out', COALESCE(c.sms_opt_out, false)
    )
    FROM (VALUES (p_customer_ref)) AS v (ref)
    LEFT JOIN customers c ON c.ref = v.ref
  );
END
$$
