-- Promises: the place in line, locked after its slot and the slot to which its booking may have moved since.
-- Called by accept_offer and leave_waitlist. Locks: slots by id, entry.
-- Raises: SB019 waitlist_entry_not_found (also where it is not the customer's whose token it is), SB006 version_conflict
-- (the booking moved to another slot while we waited).
CREATE OR REPLACE FUNCTION lock_waitlist_entry(p_actor jsonb, p_entry_id uuid)
RETURNS waitlist_entries
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot_ids uuid[];
  v_entry waitlist_entries;
  v_moved bookings;
BEGIN
  PERFORM get_waitlist_entry(p_entry_id, p_actor ->> 'customer_ref');
  v_slot_ids := ARRAY(
    SELECT unnest(ARRAY[w.slot_id, b.slot_id])
    FROM waitlist_entries w
    LEFT JOIN bookings b ON b.id = w.booking_id
    WHERE w.id = p_entry_id
  );
  PERFORM FROM slots s WHERE s.id = ANY (v_slot_ids) ORDER BY s.id FOR NO KEY UPDATE;
  SELECT * INTO v_entry FROM waitlist_entries w WHERE w.id = p_entry_id FOR NO KEY UPDATE;
  SELECT * INTO v_moved FROM bookings b WHERE b.id = v_entry.booking_id AND b.slot_id <> ALL (v_slot_ids);
  IF FOUND THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('booking_id', v_moved.id, 'current_version', v_moved.version);
  END IF;
  RETURN v_entry;
END
$$
