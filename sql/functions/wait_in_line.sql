-- Promises: who lost in an opening and asked for it stands in the line of the first choice that is full, behind those
-- who lost before. Answers the entry, or NULL. Called by book_first_choice, which has the slots locked.
CREATE OR REPLACE FUNCTION wait_in_line(p_prebooking prebookings, p_now timestamptz DEFAULT now())
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot_id uuid;
  v_entry_id uuid;
BEGIN
  IF NOT p_prebooking.join_waitlist THEN
    RETURN NULL;
  END IF;

  SELECT s.id INTO v_slot_id
  FROM slots s
  JOIN prebooking_attempts a ON a.prebooking_id = p_prebooking.id AND s.starts_at = p_prebooking.starts_at[a.choice]
  WHERE s.resource_id = p_prebooking.resource_id AND NOT s.is_legacy AND a.finding IN ('slot_full', 'insufficient_units')
  ORDER BY a.choice, s.ends_at
  LIMIT 1;
  INSERT INTO waitlist_entries (slot_id, customer_id, units, payment_method, created_at, updated_at)
  SELECT v_slot_id, p_prebooking.customer_id, p_prebooking.units, p_prebooking.payment_method, p_now, p_now
  WHERE v_slot_id IS NOT NULL
  ON CONFLICT DO NOTHING;
  -- who stood there before stays where they are
  SELECT w.id INTO v_entry_id
  FROM waitlist_entries w
  WHERE w.slot_id = v_slot_id AND w.customer_id = p_prebooking.customer_id AND w.status IN ('waiting', 'offered');
  RETURN v_entry_id;
END
$$
