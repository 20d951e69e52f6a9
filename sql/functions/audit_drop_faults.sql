-- Promises: what is noted of months that were dropped and is not what the newest entry vouches for: `changed`. Called by
-- verify_audit_log.
CREATE OR REPLACE FUNCTION audit_drop_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_last jsonb := last_audit_drop();
BEGIN
  IF v_last ->> 'digest' <> dropped_audit_digest((v_last ->> 'number')::integer) THEN
    RETURN QUERY SELECT 'audit_log', 'dropped', NULL::bigint, 'changed';
  END IF;
END
$$
