-- Promises: the last audit row of each subject of a type, and the state that it left; the dates of a resource's exceptions
-- are one subject, and each has its last. Called by audit_subject_faults.
CREATE OR REPLACE FUNCTION last_audit_entries(p_subject_type text)
RETURNS TABLE (subject_id text, on_date text, id bigint, last_position integer, state jsonb)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT a.subject_id, n.on_date, a.id, a.position, a.new_values
    FROM (
      SELECT max(m.id) AS id, d.on_date
      FROM audit_log m
      CROSS JOIN LATERAL (
        SELECT CASE WHEN p_subject_type = 'schedule_exception' THEN COALESCE(m.new_values, m.old_values) ->> 'date' END
      ) AS d (on_date)
      WHERE m.subject_type = p_subject_type
      GROUP BY m.subject_id, d.on_date
    ) n
    JOIN audit_log a ON a.id = n.id;
END
$$
