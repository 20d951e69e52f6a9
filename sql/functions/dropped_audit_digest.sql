-- Promises: one SHA-256 over what was noted of a month that was dropped, and over the digest of the one before; without the
-- latter, over all months up to this one. Called by drop_audit_month and audit_drop_faults.
CREATE OR REPLACE FUNCTION dropped_audit_digest(p_number integer, p_previous text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_previous text := p_previous;
BEGIN
  IF v_previous IS NULL AND p_number > 1 THEN
    v_previous := dropped_audit_digest(p_number - 1);
  END IF;
  RETURN encode(sha256(
    convert_to(COALESCE(v_previous, ''), 'UTF8') || COALESCE(string_agg(e.digest, '' ORDER BY e.digest), '')
  ), 'hex')
  FROM (
    SELECT sha256(convert_to(jsonb_build_array(
      d.subject_type, d.subject_id, d.first_position, encode(d.prev_hash, 'hex'), d.last_position, encode(d.hash, 'hex')
    )::text, 'UTF8')) AS digest
    FROM audit_dropped d
    WHERE d.number = p_number
  ) e;
END
$$
