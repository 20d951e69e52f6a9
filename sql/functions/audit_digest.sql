-- Promises: one SHA-256 over the heads of a checkpoint, whatever order they come in, and over the digest of the checkpoint
-- before. Called by draft_audit_checkpoint, put_audit_checkpoint and audit_checkpoint_faults.
CREATE OR REPLACE FUNCTION audit_digest(p_previous text, p_heads audit_heads[])
RETURNS text
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN encode(sha256(convert_to(COALESCE(p_previous, ''), 'UTF8') || COALESCE(string_agg(e.digest, '' ORDER BY e.digest), '')), 'hex')
  FROM (
    SELECT sha256(convert_to(
      jsonb_build_array(h.subject_type, h.subject_id, h.position, encode(h.hash, 'hex'))::text, 'UTF8'
    )) AS digest
    FROM unnest(p_heads) h
  ) e;
END
$$
