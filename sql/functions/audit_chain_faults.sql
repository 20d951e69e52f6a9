-- Promises: every audit row that is not where and what its chain says: `changed`; `reordered`, chained to a row that stands
-- elsewhere; `missing`, with gaps before it; `inserted`, in a place that is taken; `replaced`, not what the next one was
-- chained to; `unchained`. A row that an erasure emptied is as that one says; rows that went with their month are one link, as
-- was noted. Called by verify_audit_log. A pass over the table in the order of its index, some bytes a row.
CREATE OR REPLACE FUNCTION audit_chain_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    WITH emptied AS MATERIALIZED (
      SELECT DISTINCT ON (m.id) m.id::bigint AS id, m.content
      FROM audit_log e
      CROSS JOIN LATERAL jsonb_each_text(e.new_values -> 'emptied') AS m (id, content)
      WHERE e.event = 'customer.erased'
      ORDER BY m.id, e.id DESC
    )
    SELECT l.subject_type, l.subject_id, f.audit_id, f.fault
    FROM (
      SELECT e.*, lag(e.id) OVER w AS prev_id, lag(e.position) OVER w AS prev_position, lag(e.hash) OVER w AS last_hash
      FROM (
        SELECT * FROM (
          SELECT a.subject_type, a.subject_id, a.id, a.position AS first_position, a.position, a.prev_hash, a.hash,
            a.hash = audit_hash(a) OR m.content IS NOT DISTINCT FROM encode(audit_hash(a), 'hex') AS is_true
          FROM audit_log a
          LEFT JOIN emptied m USING (id)
          -- or whole rows would go through the sort
          OFFSET 0
        ) a
        UNION ALL
        SELECT d.subject_type, d.subject_id, NULL, d.first_position, d.last_position, d.prev_hash, d.hash, true
        FROM audit_dropped d
        WHERE d.number <= (last_audit_drop() ->> 'number')::integer
      ) e
      WINDOW w AS (PARTITION BY e.subject_type, e.subject_id ORDER BY e.position, e.id)
    ) l
    CROSS JOIN LATERAL (
      VALUES
        (l.id, CASE
          WHEN l.position IS NULL OR l.hash IS NULL THEN 'unchained'
          WHEN l.is_true THEN NULL
          WHEN EXISTS (
            SELECT FROM audit_log o
            WHERE o.subject_type = l.subject_type AND o.subject_id = l.subject_id AND o.hash = l.prev_hash
              AND o.position <> l.position - 1
          ) OR l.position > 1 AND l.prev_hash IS NULL THEN 'reordered'
          ELSE 'changed'
        END),
        (l.id, CASE
          WHEN l.first_position < 1 OR l.first_position <= l.prev_position THEN 'inserted'
          WHEN l.first_position > COALESCE(l.prev_position, 0) + 1 THEN 'missing'
        END),
        (COALESCE(l.prev_id, l.id), CASE
          WHEN l.first_position = COALESCE(l.prev_position, 0) + 1 AND l.prev_hash IS DISTINCT FROM l.last_hash THEN 'replaced'
        END)
    ) AS f (audit_id, fault)
    WHERE f.fault IS NOT NULL;
END
$$
