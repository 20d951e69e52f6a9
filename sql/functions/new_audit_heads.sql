-- Promises: the last audit row of each subject that has one after the newest checkpoint and up to an id: the heads of the next
-- checkpoint. Called by draft_audit_checkpoint and put_audit_checkpoint.
CREATE OR REPLACE FUNCTION new_audit_heads(p_up_to bigint)
RETURNS SETOF audit_heads
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT DISTINCT ON (a.subject_type, a.subject_id) c.number + 1, a.subject_type, a.subject_id, a.position, a.hash
    FROM (SELECT COALESCE(max(x.number), 0) AS number, COALESCE(max(x.up_to), 0) AS up_to FROM audit_checkpoints x) c
    JOIN audit_log a ON a.id > c.up_to AND a.id <= p_up_to
    ORDER BY a.subject_type, a.subject_id, a.position DESC;
END
$$
