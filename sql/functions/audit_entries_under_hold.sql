-- Promises: the audit rows of a time that are of customers under a legal hold, or were written by them: neither retention takes
-- anything of them away. Called by drop_audit_month and forget_audit_addresses.
CREATE OR REPLACE FUNCTION audit_entries_under_hold(p_from timestamptz, p_to timestamptz)
RETURNS SETOF bigint
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT a.id
    FROM customers c
    CROSS JOIN LATERAL customer_audit_entries(c.id) o (id)
    JOIN audit_log a ON a.id = o.id
    WHERE c.legal_hold_since IS NOT NULL AND a.created_at >= p_from AND a.created_at < p_to
    UNION ALL
    SELECT a.id
    FROM customers c
    JOIN audit_log a ON a.performed_by_id LIKE 'customer:%' AND a.performed_by_id = 'customer:' || c.ref
    WHERE c.legal_hold_since IS NOT NULL AND a.created_at >= p_from AND a.created_at < p_to;
END
$$
