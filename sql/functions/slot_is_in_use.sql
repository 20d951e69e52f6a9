-- Promises: whether anything refers to the slot: a booking, even one that is over, or somebody in its line.
-- Called by schedule_plan: only a slot without history may go.
CREATE OR REPLACE FUNCTION slot_is_in_use(p_slot_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN EXISTS (SELECT FROM bookings b WHERE b.slot_id = p_slot_id)
    OR EXISTS (SELECT FROM waitlist_entries w WHERE w.slot_id = p_slot_id);
END
$$
