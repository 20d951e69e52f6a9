-- Promises: one prebooking as the API answers it; of that customer alone, where one is given.
-- Called by GET /v1/prebookings/{id} and cancel_prebooking. Raises: SB024 prebooking_not_found.
CREATE OR REPLACE FUNCTION get_prebooking(p_prebooking_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_prebooking prebookings;
BEGIN
  PERFORM act_for(p_customer_ref);
  SELECT p.* INTO v_prebooking
  FROM prebookings p
  JOIN customers c ON c.id = p.customer_id
  WHERE p.id = p_prebooking_id AND (p_customer_ref IS NULL OR c.ref = p_customer_ref);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'prebooking_not_found' USING ERRCODE = 'SB024',
      DETAIL = json_build_object('prebooking_id', p_prebooking_id);
  END IF;
  RETURN prebooking_json(v_prebooking);
END
$$
