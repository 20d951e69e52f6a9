-- Promises: of up to p_limit audit rows that are older than p_keep, the oldest, address and user agent are gone, and their hashes
-- are true as before; answers how many. Not those of customers under a legal hold. Called by the job processor.
-- Locks: the rows, SKIP LOCKED.
CREATE OR REPLACE FUNCTION forget_audit_addresses(p_limit integer, p_keep interval, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_held bigint[];
  v_forgotten integer;
BEGIN
  -- mostly nothing is old enough, and what is held is found by a look at every customer
  IF NOT EXISTS (SELECT FROM audit_log o WHERE o.address_salt IS NOT NULL AND o.created_at < p_now - p_keep) THEN
    RETURN 0;
  END IF;

  v_held := ARRAY(SELECT * FROM audit_entries_under_hold('-infinity', p_now - p_keep));
  UPDATE audit_log a
  SET ip_address = f.ip_address, user_agent = f.user_agent, address_salt = f.address_salt, address_hash = f.address_hash
  FROM (
    SELECT o.id, o.created_at, forgotten_audit_entry(o) AS entry
    FROM audit_log o
    WHERE o.address_salt IS NOT NULL AND o.created_at < p_now - p_keep AND o.id <> ALL (v_held)
    ORDER BY o.created_at
    LIMIT p_limit
    FOR NO KEY UPDATE SKIP LOCKED
  ) o
  CROSS JOIN LATERAL (SELECT (o.entry).*) f
  WHERE a.id = o.id AND a.created_at = o.created_at;
  GET DIAGNOSTICS v_forgotten = ROW_COUNT;
  RETURN v_forgotten;
END
$$
