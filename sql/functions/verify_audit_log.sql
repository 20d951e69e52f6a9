-- Promises: whether the audit trail is as it was written, as of one snapshot: how many rows, erasures and checkpoints there are,
-- before when all was dropped, how many faults, the first p_limit of them, and what the checkpoints state and who signed it, which only a key can verify.
-- Called by `holdfast audit verify`. Reads everything, writes nothing, and holds some bytes a row at most.
CREATE OR REPLACE FUNCTION verify_audit_log(p_limit integer DEFAULT 1000)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    WITH faults AS MATERIALIZED (
      SELECT DISTINCT f.*
      FROM (
        SELECT * FROM audit_chain_faults()
        UNION ALL
        SELECT * FROM audit_end_faults()
        UNION ALL
        SELECT * FROM audit_drop_faults()
        UNION ALL
        SELECT * FROM audit_subject_faults()
        UNION ALL
        SELECT * FROM audit_checkpoint_faults()
      ) f
    )
    SELECT json_build_object(
      'entries', (SELECT count(*) FROM audit_log),
      'erasures', (SELECT count(*) FROM audit_log a WHERE a.event = 'customer.erased'),
      'dropped_before', last_audit_drop() ->> 'before',
      'fault_count', (SELECT count(*) FROM faults),
      'faults', COALESCE((
        SELECT json_agg(to_json(f))
        FROM (SELECT * FROM faults x ORDER BY x.subject_type, x.subject_id, x.audit_id, x.fault LIMIT p_limit) f
      ), '[]'),
      'checkpoints', COALESCE((
        SELECT json_agg(json_build_object(
          'number', c.number, 'statement', c.statement, 'signature', encode(c.signature, 'base64')
        ) ORDER BY c.number)
        FROM audit_checkpoints c
      ), '[]')
    )
  );
END
$$
