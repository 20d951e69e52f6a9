-- Promises: what the page behind a participant's link shows, with the language and the zone to show it in.
-- Called by GET and POST /respond/{token}, which have checked the link.
-- Raises: SB032 auto_sync_not_found (nobody is asked so, or not any more), SB033 auto_sync_over.
CREATE OR REPLACE FUNCTION get_invitation(p_participant_id uuid)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_participant auto_sync_participants;
  v_sync auto_syncs;
BEGIN
  SELECT * INTO v_participant FROM auto_sync_participants p WHERE p.id = p_participant_id AND p.removed_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'auto_sync_not_found' USING ERRCODE = 'SB032',
      DETAIL = json_build_object('participant_id', p_participant_id);
  END IF;
  SELECT * INTO v_sync FROM auto_syncs a WHERE a.id = v_participant.auto_sync_id;
  IF v_sync.status NOT IN ('running', 'paused') THEN
    RAISE EXCEPTION 'auto_sync_over' USING ERRCODE = 'SB033',
      DETAIL = json_build_object('auto_sync_id', v_sync.id, 'status', v_sync.status);
  END IF;
  RETURN (
    SELECT auto_sync_facts(v_sync, c.id)
      || jsonb_build_object('language', c.language, 'timezone', COALESCE(c.timezone, v_sync.timezone), 'name', c.name)
    FROM customers c
    WHERE c.id = v_participant.customer_id
  );
END
$$
