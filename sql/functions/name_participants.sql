-- Promises: the participants of an auto-sync with these refs are those whose answers its goal wants; how many there are.
-- Called by create_auto_sync, which has just made it. Locks: the participants.
CREATE OR REPLACE FUNCTION name_participants(p_auto_sync_id uuid, p_refs text[])
RETURNS bigint
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_named bigint;
BEGIN
  UPDATE auto_sync_participants p
  SET is_named = true
  FROM customers c
  WHERE p.auto_sync_id = p_auto_sync_id AND c.id = p.customer_id AND c.ref = ANY (p_refs);
  GET DIAGNOSTICS v_named = ROW_COUNT;
  RETURN v_named;
END
$$
