-- Promises: what the newest entry says that vouches for months that were dropped: the number of the last, before when all is gone,
-- and a digest over what was noted of all of them. Null where nothing was dropped. Called by drop_audit_month and by verifying.
CREATE OR REPLACE FUNCTION last_audit_drop()
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT a.new_values
    FROM audit_log a
    WHERE a.subject_type = 'audit_log' AND a.subject_id = 'dropped'
    ORDER BY a.position DESC
    LIMIT 1
  );
END
$$
