-- Promises: a new audit row, whoever writes it, stands after the last one of its subject and carries its hash. Called by trigger
-- audit_log_chain. Who writes a subject holds its row, so there is one writer; the unique index refuses any other
-- (write_audit_log comes again). While older rows of the subject are not chained, nor is this one: backfill_audit_chain does.
CREATE OR REPLACE FUNCTION audit_log_chain()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_last record;
BEGIN
  NEW.position := NULL;
  NEW.prev_hash := NULL;
  NEW.hash := NULL;
  -- what is not chained comes first
  SELECT a.position, a.hash INTO v_last
  FROM audit_log a
  WHERE a.subject_type = NEW.subject_type AND a.subject_id = NEW.subject_id
  ORDER BY a.position DESC
  LIMIT 1;
  IF NOT FOUND OR v_last.position IS NOT NULL THEN
    NEW.position := COALESCE(v_last.position, 0) + 1;
    NEW.prev_hash := v_last.hash;
    NEW.hash := audit_hash(NEW);
  END IF;
  RETURN NEW;
END
$$
