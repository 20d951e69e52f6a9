-- Promises: of up to p_limit audit rows that are not chained, the oldest, each stands in the chain of its subject; answers how
-- many. Called by housekeeping until none is left: rows from before chains, and those written meanwhile to their subjects.
-- Locks: the rows, by id, so that whoever comes second finds none of them left.
CREATE OR REPLACE FUNCTION backfill_audit_chain(p_limit integer)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry audit_log;
  v_last record;
  v_done integer := 0;
BEGIN
  FOR v_entry IN
    SELECT * FROM audit_log a WHERE a.position IS NULL ORDER BY a.id LIMIT p_limit FOR NO KEY UPDATE
  LOOP
    SELECT a.position, a.hash INTO v_last
    FROM audit_log a
    WHERE a.subject_type = v_entry.subject_type AND a.subject_id = v_entry.subject_id AND a.position IS NOT NULL
    ORDER BY a.position DESC
    LIMIT 1;
    v_entry.position := COALESCE(v_last.position, 0) + 1;
    v_entry.prev_hash := v_last.hash;
    UPDATE audit_log a
    SET position = v_entry.position, prev_hash = v_entry.prev_hash, hash = audit_hash(v_entry)
    WHERE a.id = v_entry.id;
    v_done := v_done + 1;
  END LOOP;
  RETURN v_done;
END
$$
