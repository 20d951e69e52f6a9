-- Promises: the customer wants to be told so, and no other way; one who is not known yet is from now on. The same again
-- changes nothing. Called by PUT /v1/customers/{ref}/preferences. Locks: the customer's row.
CREATE OR REPLACE FUNCTION put_preferences(
  p_actor jsonb,
  p_customer_ref text,
  p_language text DEFAULT NULL,
  p_timezone text DEFAULT NULL,
  p_email_opt_out boolean DEFAULT false,
  p_sms_opt_out boolean DEFAULT false,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO customers AS c (ref, language, timezone, email_opt_out, sms_opt_out, created_at, updated_at)
  VALUES (p_customer_ref, p_language, p_timezone, p_email_opt_out, p_sms_opt_out, p_now, p_now)
  ON CONFLICT (ref) DO UPDATE
    SET language = EXCLUDED.language,
        timezone = EXCLUDED.timezone,
        email_opt_out = EXCLUDED.email_opt_out,
        sms_opt_out = EXCLUDED.sms_opt_out,
        updated_at = EXCLUDED.updated_at
    WHERE (c.language, c.timezone, c.email_opt_out, c.sms_opt_out) IS DISTINCT FROM
      (EXCLUDED.language, EXCLUDED.timezone, EXCLUDED.email_opt_out, EXCLUDED.sms_opt_out);
  RETURN get_preferences(p_customer_ref);
END
$$
