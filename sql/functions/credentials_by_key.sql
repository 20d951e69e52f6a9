-- Promises: how many credentials are under each key. Called by `holdfast keys rotate` and `holdfast doctor`.
CREATE OR REPLACE FUNCTION credentials_by_key()
RETURNS TABLE (key_id text, credentials bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT c.key_id, count(*) FROM provider_credentials c GROUP BY c.key_id ORDER BY c.key_id
$$
