-- Promises: the checkpoint is on record with its heads and its signature, if what it states is still so and no other came first;
-- answers whether it is. Called by the making of checkpoints, with what draft_audit_checkpoint answered.
-- Locks: the table of checkpoints against other makers.
CREATE OR REPLACE FUNCTION put_audit_checkpoint(p_statement text, p_signature bytea)
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_states jsonb := p_statement::jsonb;
  v_up_to bigint := (v_states ->> 'up_to')::bigint;
  v_heads audit_heads[];
BEGIN
  LOCK TABLE audit_checkpoints IN SHARE ROW EXCLUSIVE MODE;
  v_heads := ARRAY(SELECT h FROM new_audit_heads(v_up_to) h);
  IF (v_states ->> 'number')::integer <> (SELECT COALESCE(max(c.number), 0) + 1 FROM audit_checkpoints c)
    OR v_states ->> 'digest' <> audit_digest(v_states ->> 'previous', v_heads)
  THEN
    RETURN false;
  END IF;

  INSERT INTO audit_checkpoints (number, up_to, digest, statement, signature)
  VALUES ((v_states ->> 'number')::integer, v_up_to, v_states ->> 'digest', p_statement, p_signature);
  INSERT INTO audit_heads (checkpoint, subject_type, subject_id, position, hash)
  SELECT h.checkpoint, h.subject_type, h.subject_id, h.position, h.hash
  FROM unnest(v_heads) h;
  RETURN true;
END
$$
