-- Promises: when the newest checkpoint was made and whether it is signed; nulls where there is none. Called by `holdfast doctor`.
CREATE OR REPLACE FUNCTION newest_audit_checkpoint(OUT created_at timestamptz, OUT is_signed boolean)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  SELECT c.created_at, c.signature IS NOT NULL INTO created_at, is_signed
  FROM audit_checkpoints c
  ORDER BY c.number DESC
  LIMIT 1;
END
$$
