-- Promises: one crew as the API answers it; to a customer, if it is one of theirs.
-- Called by GET /v1/crews/{id} and by whatever needs it to be there. Raises: SB030 crew_not_found.
CREATE OR REPLACE FUNCTION get_crew(p_crew_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_crew crews;
BEGIN
  PERFORM act_for(p_customer_ref);
  SELECT w.* INTO v_crew
  FROM crews w
  WHERE w.id = p_crew_id AND (p_customer_ref IS NULL OR w.id IN (SELECT crews_of(p_customer_ref)));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crew_not_found' USING ERRCODE = 'SB030', DETAIL = json_build_object('crew_id', p_crew_id);
  END IF;
  RETURN crew_json(v_crew);
END
$$
