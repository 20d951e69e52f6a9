-- Promises: whether whoever has this E.164 number asked for no SMS. Called by the handler of send_message, just before.
CREATE OR REPLACE FUNCTION is_sms_opted_out(p_number text)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN EXISTS (SELECT FROM sms_opt_outs o WHERE o.number_hash = sha256(convert_to(p_number, 'UTF8')));
END
$$
