-- Promises: no SMS goes to this E.164 number, or may again; for whichever customers it is or will be the number.
-- What is kept of it is a hash, for personal data stays in customers. Called by POST /v1/sms-inbound.
CREATE OR REPLACE FUNCTION put_sms_opt_out(p_number text, p_is_opted_out boolean, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_is_opted_out THEN
    INSERT INTO sms_opt_outs (number_hash, created_at)
    VALUES (sha256(convert_to(p_number, 'UTF8')), p_now)
    ON CONFLICT DO NOTHING;
  ELSE
    DELETE FROM sms_opt_outs o WHERE o.number_hash = sha256(convert_to(p_number, 'UTF8'));
  END IF;
END
$$
