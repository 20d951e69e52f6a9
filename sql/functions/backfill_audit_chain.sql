-- Promises: of up to p_limit audit rows that are not chained, the oldest, each stands in the chain of its subject, and of up to
-- p_limit subjects from before there was `audit_chains`, it is noted there where their chains end; answers how many. Called by
-- housekeeping until none is left: then `audit_backfill`, which says how far it came, is empty.
-- Locks: the rows, by id, so that whoever comes second finds none of them left, and the ends of their chains; or `audit_backfill`.
CREATE OR REPLACE FUNCTION backfill_audit_chain(p_limit integer)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry audit_log;
  v_last record;
  v_after record;
  v_done integer := 0;
BEGIN
  FOR v_entry IN
    SELECT * FROM audit_log a WHERE a.position IS NULL ORDER BY a.id LIMIT p_limit FOR NO KEY UPDATE
  LOOP
    PERFORM FROM audit_chains c
    WHERE c.subject_type = v_entry.subject_type AND c.subject_id = v_entry.subject_id
    FOR NO KEY UPDATE;
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
    INSERT INTO audit_chains AS c (subject_type, subject_id, position, hash)
    VALUES (v_entry.subject_type, v_entry.subject_id, v_entry.position, audit_hash(v_entry))
    ON CONFLICT (subject_type, subject_id) DO UPDATE SET position = EXCLUDED.position, hash = EXCLUDED.hash;
    v_done := v_done + 1;
  END LOOP;
  IF v_done > 0 THEN
    RETURN v_done;
  END IF;

  SELECT * INTO v_after FROM audit_backfill FOR UPDATE;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  FOR v_last IN
    SELECT DISTINCT ON (a.subject_type, a.subject_id) a.subject_type, a.subject_id, a.position, a.hash
    FROM audit_log a
    WHERE (a.subject_type, a.subject_id) > (v_after.subject_type, v_after.subject_id)
    ORDER BY a.subject_type, a.subject_id, a.position DESC
    LIMIT p_limit
  LOOP
    INSERT INTO audit_chains (subject_type, subject_id, position, hash)
    VALUES (v_last.subject_type, v_last.subject_id, v_last.position, v_last.hash)
    ON CONFLICT DO NOTHING;
    v_done := v_done + 1;
  END LOOP;
  IF v_done < p_limit THEN
    DELETE FROM audit_backfill;
  ELSE
    UPDATE audit_backfill SET subject_type = v_last.subject_type, subject_id = v_last.subject_id;
  END IF;
  RETURN v_done;
END
$$
