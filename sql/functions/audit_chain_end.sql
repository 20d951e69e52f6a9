-- Promises: the position and the hash of a subject's last audit row; position 0 where there is none, null while some are not
-- chained. Called by audit_log_chain. While the ends of chains from before `audit_chains` are still being noted, which
-- `audit_backfill` says, it notes this one.
CREATE OR REPLACE FUNCTION audit_chain_end(p_subject_type text, p_subject_id text, OUT last_position integer, OUT last_hash bytea)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  LOOP
    SELECT c.position, c.hash INTO last_position, last_hash
    FROM audit_chains c
    WHERE c.subject_type = p_subject_type AND c.subject_id = p_subject_id;
    EXIT WHEN FOUND;
    last_position := 0;
    EXIT WHEN NOT EXISTS (SELECT FROM audit_backfill);

    -- what is not chained comes first
    SELECT a.position, a.hash INTO last_position, last_hash
    FROM audit_log a
    WHERE a.subject_type = p_subject_type AND a.subject_id = p_subject_id
    ORDER BY a.position DESC
    LIMIT 1;
    IF NOT FOUND THEN
      last_position := 0;
      EXIT;
    END IF;
    EXIT WHEN last_position IS NULL;
    INSERT INTO audit_chains (subject_type, subject_id, position, hash)
    VALUES (p_subject_type, p_subject_id, last_position, last_hash)
    ON CONFLICT DO NOTHING;
  END LOOP;
END
$$
