-- Promises: how many wait in a slot's line before that place, whoever they are. Called by waitlist_entry_json.
CREATE OR REPLACE FUNCTION waitlist_ahead(p_slot_id uuid, p_place_in_line bigint)
RETURNS bigint
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT count(*)
  FROM waitlist_entries w
  WHERE w.slot_id = p_slot_id AND w.status = 'waiting' AND w.place_in_line < p_place_in_line
$$
