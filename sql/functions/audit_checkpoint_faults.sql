-- Promises: every difference between the checkpoints and the trail: a head that is `missing` or `replaced`, a row `inserted`
-- below the newest checkpoint, a checkpoint that is `changed` against its heads or `missing`. A head that went with its month is
-- as was noted, and no younger than what was dropped. Called by verify_audit_log.
CREATE OR REPLACE FUNCTION audit_checkpoint_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_last_drop jsonb := last_audit_drop();
BEGIN
  RETURN QUERY
    SELECT h.subject_type, h.subject_id, a.id, CASE WHEN a.id IS NULL AND d.number IS NULL THEN 'missing' ELSE 'replaced' END
    FROM audit_heads h
    JOIN (
      SELECT x.number, lag(x.statement::jsonb ->> 'made_at') OVER (ORDER BY x.number)::timestamptz AS after FROM audit_checkpoints x
    ) c ON c.number = h.checkpoint
    LEFT JOIN audit_log a USING (subject_type, subject_id, position)
    LEFT JOIN audit_dropped d
      ON a.id IS NULL AND d.subject_type = h.subject_type AND d.subject_id = h.subject_id
        AND h.position BETWEEN d.first_position AND d.last_position AND d.number <= (v_last_drop ->> 'number')::integer
        AND (c.after IS NULL OR c.after < (v_last_drop ->> 'before')::timestamptz)
    WHERE CASE
      WHEN a.id IS NOT NULL THEN a.hash IS DISTINCT FROM h.hash
      ELSE d.number IS NULL OR h.position = d.last_position AND d.hash <> h.hash
    END
    UNION ALL
    SELECT a.subject_type, a.subject_id, a.id, 'inserted'
    FROM audit_log a
    LEFT JOIN (
      SELECT x.subject_type, x.subject_id, max(x.position) AS position FROM audit_heads x GROUP BY 1, 2
    ) h USING (subject_type, subject_id)
    WHERE a.id <= (SELECT max(c.up_to) FROM audit_checkpoints c) AND a.position > COALESCE(h.position, 0)
    UNION ALL
    SELECT 'checkpoint', c.number::text, NULL, 'changed'
    FROM (SELECT x.*, x.statement::jsonb AS states, lag(x.digest) OVER (ORDER BY x.number) AS previous FROM audit_checkpoints x) c
    WHERE (c.states ->> 'number', c.states ->> 'up_to', c.states ->> 'digest')
        IS DISTINCT FROM (c.number::text, c.up_to::text, c.digest)
      OR c.states ->> 'previous' IS DISTINCT FROM c.previous
      OR c.digest <> audit_digest(c.previous, ARRAY(SELECT h FROM audit_heads h WHERE h.checkpoint = c.number))
    UNION ALL
    SELECT 'checkpoint', n::text, NULL, 'missing'
    FROM generate_series(1, (SELECT max(c.number) FROM audit_checkpoints c)) n
    WHERE NOT EXISTS (SELECT FROM audit_checkpoints c WHERE c.number = n);
END
$$
