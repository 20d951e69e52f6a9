-- Promises: one auto-sync as the API answers it, with who is asked and what each answered; to a customer, if its crew is one
-- of theirs. Called by GET /v1/auto-syncs/{id} and by every function that changes one. Raises: SB032 auto_sync_not_found.
CREATE OR REPLACE FUNCTION get_auto_sync(p_auto_sync_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync auto_syncs;
BEGIN
  PERFORM act_for(p_customer_ref);
  SELECT a.* INTO v_sync
  FROM auto_syncs a
  WHERE a.id = p_auto_sync_id AND (p_customer_ref IS NULL OR a.crew_id IN (SELECT crews_of(p_customer_ref)));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'auto_sync_not_found' USING ERRCODE = 'SB032',
      DETAIL = json_build_object('auto_sync_id', p_auto_sync_id);
  END IF;
  RETURN auto_sync_json(v_sync)::jsonb || jsonb_build_object('participants', auto_sync_answers(p_auto_sync_id));
END
$$
