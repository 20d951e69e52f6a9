-- Promises: the partitions of the audit trail that have an end, and from when to when each reaches. Called by
-- make_audit_partitions and drop_audit_month.
CREATE OR REPLACE FUNCTION audit_partitions()
RETURNS TABLE (name text, begins_at timestamptz, ends_at timestamptz)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET datestyle = 'ISO'
AS $$
BEGIN
  RETURN QUERY
    SELECT c.relname::text, COALESCE(substring(b.bound FROM 'FROM \(''([^'']+)''\)')::timestamptz, '-infinity'),
      substring(b.bound FROM 'TO \(''([^'']+)''\)')::timestamptz
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) AS b (bound)
    WHERE i.inhparent = 'audit_log'::regclass AND b.bound <> 'DEFAULT'
    ORDER BY 3;
END
$$
