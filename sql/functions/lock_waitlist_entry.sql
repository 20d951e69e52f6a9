-- Promises: the place in line, locked after its slot. Called by accept_offer and leave_waitlist. Locks: slot, entry.
-- Raises: SB019 waitlist_entry_not_found (also where it is not the customer's whose token it is).
CREATE OR REPLACE FUNCTION lock_waitlist_entry(p_actor jsonb, p_entry_id uuid)
RETURNS waitlist_entries
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry waitlist_entries;
BEGIN
  PERFORM get_waitlist_entry(p_entry_id, p_actor ->> 'customer_ref');
  PERFORM lock_slot(w.slot_id) FROM waitlist_entries w WHERE w.id = p_entry_id;
  SELECT * INTO v_entry FROM waitlist_entries w WHERE w.id = p_entry_id FOR NO KEY UPDATE;
  RETURN v_entry;
END
$$
