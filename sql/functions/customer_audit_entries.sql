-- Promises: the audit rows of everything that is a customer's own, found by the index on subjects, however many rows others have.
-- Called by redact_audit_log, export_customer and audit_entries_under_hold.
CREATE OR REPLACE FUNCTION customer_audit_entries(p_customer_id uuid)
RETURNS SETOF bigint
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT o.id
    FROM customer_subjects(p_customer_id) s
    CROSS JOIN LATERAL (
      SELECT a.id
      FROM audit_log a
      WHERE a.subject_type = s.subject_type AND a.subject_id = s.subject_id
      -- or the planner, who thinks of a thousand subjects, joins them with the whole trail
      OFFSET 0
    ) o;
END
$$
