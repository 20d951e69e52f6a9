-- Promises: how many webhook secrets are under each key. Called by `holdfast keys rotate` and `holdfast doctor`.
CREATE OR REPLACE FUNCTION webhook_secrets_by_key()
RETURNS TABLE (key_id text, secrets bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT s.key_id, count(*) FROM webhook_secrets s GROUP BY s.key_id ORDER BY s.key_id
$$
