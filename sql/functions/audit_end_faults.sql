-- Promises: every chain that does not end where `audit_chains` says: `missing`, for rows are gone at its end or nobody knows
-- where it ends; `inserted`, for there are more; `replaced`. Not in it: chains with rows that wait to be chained. Called by
-- verify_audit_log.
CREATE OR REPLACE FUNCTION audit_end_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_is_noted boolean := NOT EXISTS (SELECT FROM audit_backfill);
BEGIN
  RETURN QUERY
    SELECT e.*
    FROM (
      SELECT COALESCE(c.subject_type, l.subject_type), COALESCE(c.subject_id, l.subject_id), l.id, CASE
        WHEN c.position IS NULL AND v_is_noted OR c.position > COALESCE(l.position, 0) THEN 'missing'
        WHEN c.position < l.position THEN 'inserted'
        WHEN c.hash <> l.hash THEN 'replaced'
      END
      FROM audit_chains c
      FULL JOIN (
        SELECT DISTINCT ON (x.subject_type, x.subject_id) x.*
        FROM (
          SELECT a.subject_type, a.subject_id, a.id, a.position, a.hash FROM audit_log a
          UNION ALL
          SELECT d.subject_type, d.subject_id, NULL, d.last_position, d.hash
          FROM audit_dropped d
          WHERE d.number <= (last_audit_drop() ->> 'number')::integer
        ) x
        ORDER BY x.subject_type, x.subject_id, x.position DESC, x.id DESC
      ) l USING (subject_type, subject_id)
      WHERE l.id IS NULL OR l.position IS NOT NULL
    ) e (subject_type, subject_id, audit_id, fault)
    WHERE e.fault IS NOT NULL;
END
$$
