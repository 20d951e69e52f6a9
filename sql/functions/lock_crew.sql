-- Promises: the crew's row, locked until the transaction ends, so that who joins and what is started come one after the
-- other; for a customer, if they organize it. Called by whatever changes a crew or starts an auto-sync.
-- Locks: crew. Raises: SB030 crew_not_found.
CREATE OR REPLACE FUNCTION lock_crew(p_actor jsonb, p_crew_id uuid)
RETURNS crews
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_crew crews;
BEGIN
  SELECT * INTO v_crew FROM crews w WHERE w.id = p_crew_id FOR NO KEY UPDATE;
  IF NOT FOUND OR NOT is_organizer(p_actor, v_crew.organizer_id) THEN
    RAISE EXCEPTION 'crew_not_found' USING ERRCODE = 'SB030', DETAIL = json_build_object('crew_id', p_crew_id);
  END IF;
  RETURN v_crew;
END
$$
