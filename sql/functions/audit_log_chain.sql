-- Promises: a new audit row, whoever writes it, stands after the last one of its subject and carries its hash; of where from, a
-- salted hash is what its hash is made of. Called by trigger audit_log_chain. Of two writers of a subject the second waits for
-- the first. While older rows of the subject are not chained, nor is this one: backfill_audit_chain does.
-- Locks: the end of the subject's chain.
CREATE OR REPLACE FUNCTION audit_log_chain()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_last record;
  -- the first of its subject, as most are; whoever claims it falsely finds the end of the chain taken
  v_is_first boolean := NEW.action_type = 'created';
  v_is_sure boolean := false;
BEGIN
  NEW.prev_hash := NULL;
  NEW.address_hash := NULL;
  NEW.address_salt := CASE WHEN num_nonnulls(NEW.ip_address, NEW.user_agent) > 0 THEN uuid_send(gen_random_uuid()) END;
  LOOP
    IF v_is_first THEN
      NEW.position := 1;
      NEW.hash := audit_hash(NEW);
      INSERT INTO audit_chains (subject_type, subject_id, position, hash)
      SELECT NEW.subject_type, NEW.subject_id, 1, NEW.hash
      WHERE v_is_sure OR NOT EXISTS (SELECT FROM audit_chains c WHERE c.subject_type = '')
      ON CONFLICT DO NOTHING;
    ELSE
      SELECT e.last_position AS position, e.last_hash AS hash INTO v_last FROM audit_chain_end(NEW.subject_type, NEW.subject_id) e;
      NEW.position := v_last.position + 1;
      NEW.prev_hash := v_last.hash;
      NEW.hash := CASE WHEN NEW.position IS NOT NULL THEN audit_hash(NEW) END;
      v_is_first := NEW.position = 1;
      v_is_sure := true;
      EXIT WHEN NEW.position IS NULL;
      CONTINUE WHEN v_is_first;
      UPDATE audit_chains c SET position = NEW.position, hash = NEW.hash
      WHERE c.subject_type = NEW.subject_type AND c.subject_id = NEW.subject_id AND c.position = v_last.position;
    END IF;
    EXIT WHEN FOUND;
    v_is_first := false;
  END LOOP;
  RETURN NEW;
END
$$
