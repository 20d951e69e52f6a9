-- Promises: what a participant answers is on record, and stands until they answer otherwise; the same twice is once.
-- Called by POST /v1/auto-syncs/{id}/responses with who they are, and by POST /respond/{token} with the participant.
-- Locks: auto-sync, participant, then what an answer that meets the goal locks.
-- Raises: SB031 crew_member_not_found (who is not asked), SB032 auto_sync_not_found, SB033 auto_sync_over.
CREATE OR REPLACE FUNCTION record_response(
  p_actor jsonb,
  p_answer text,
  p_times uuid[] DEFAULT '{}',
  p_auto_sync_id uuid DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_participant_id uuid DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync_id uuid := p_auto_sync_id;
  v_participant auto_sync_participants;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF v_sync_id IS NULL THEN
    SELECT p.auto_sync_id INTO v_sync_id FROM auto_sync_participants p WHERE p.id = p_participant_id;
  END IF;
  PERFORM get_auto_sync(v_sync_id, p_actor ->> 'customer_ref');
  PERFORM FROM auto_syncs a WHERE a.id = v_sync_id FOR NO KEY UPDATE;
  SELECT p.* INTO v_participant
  FROM auto_sync_participants p
  JOIN customers c ON c.id = p.customer_id
  WHERE p.auto_sync_id = v_sync_id AND p.removed_at IS NULL AND (p.id = p_participant_id OR c.ref = p_customer_ref)
  FOR NO KEY UPDATE OF p;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crew_member_not_found' USING ERRCODE = 'SB031',
      DETAIL = json_build_object('auto_sync_id', v_sync_id, 'customer_ref', p_customer_ref);
  END IF;

  IF (SELECT a.status NOT IN ('running', 'paused') FROM auto_syncs a WHERE a.id = v_sync_id) THEN
    RAISE EXCEPTION 'auto_sync_over' USING ERRCODE = 'SB033', DETAIL = json_build_object('auto_sync_id', v_sync_id);
  END IF;
  UPDATE auto_sync_participants p
  SET answer = p_answer,
      time_ids = p_times,
      answered_at = p_now,
      updated_at = p_now
  WHERE p.id = v_participant.id
    AND (p.answer IS DISTINCT FROM p_answer OR NOT (p.time_ids <@ p_times AND p.time_ids @> p_times));
  RETURN get_auto_sync(v_sync_id);
END
$$
