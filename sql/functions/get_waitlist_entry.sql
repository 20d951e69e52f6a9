-- Promises: one place in line as the API answers it; of that customer alone, where one is given.
-- Called by GET /v1/waitlist/{id} and lock_waitlist_entry. Raises: SB019 waitlist_entry_not_found.
CREATE OR REPLACE FUNCTION get_waitlist_entry(p_entry_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry waitlist_entries;
BEGIN
  PERFORM act_for(p_customer_ref);
  SELECT w.* INTO v_entry
  FROM waitlist_entries w
  JOIN customers c ON c.id = w.customer_id
  WHERE w.id = p_entry_id AND (p_customer_ref IS NULL OR c.ref = p_customer_ref);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'waitlist_entry_not_found' USING ERRCODE = 'SB019',
      DETAIL = json_build_object('waitlist_entry_id', p_entry_id);
  END IF;
  RETURN waitlist_entry_json(v_entry);
END
$$
