-- Promises: the slot's row, locked until the transaction ends. Called by every function that takes a place.
-- Locks: slot. Raises: SB001 slot_not_found.
CREATE OR REPLACE FUNCTION lock_slot(p_slot_id uuid)
RETURNS slots
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot slots;
BEGIN
  -- NO KEY: the foreign key checks of other writers need not wait for us
  SELECT * INTO v_slot FROM slots s WHERE s.id = p_slot_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'slot_not_found' USING ERRCODE = 'SB001', DETAIL = json_build_object('slot_id', p_slot_id);
  END IF;
  RETURN v_slot;
END
$$
