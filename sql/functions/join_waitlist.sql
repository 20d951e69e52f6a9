-- Promises: the customer stands in the slot's line, once; where there is room already, the answer is an offer.
-- Called by POST /v1/waitlist. Locks: slot, customer (if it changes), entry, then the new booking.
-- Raises: SB001 slot_not_found, what require_open_slot, require_turn and require_customer_limit raise.
CREATE OR REPLACE FUNCTION join_waitlist(
  p_actor jsonb,
  p_slot_id uuid,
  p_customer jsonb,
  p_units integer DEFAULT 1,
  p_payment_method text DEFAULT 'pay_on_arrival',
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (entry_id uuid, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot slots;
  v_customer_id uuid;
  v_entry waitlist_entries;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_slot := lock_slot(p_slot_id);
  PERFORM require_open_slot(p_actor, v_slot, p_now);
  PERFORM require_turn(p_actor, v_slot, p_units, p_now);
  v_customer_id := upsert_customer(own_customer(p_actor, p_customer), p_now);
  -- a hold whose time is over goes to the line as it stands; it may be this customer's own offer
  PERFORM expire_slot_holds(p_slot_id, p_now);

  PERFORM FROM waitlist_entries w
  WHERE w.slot_id = p_slot_id AND w.customer_id = v_customer_id AND w.status IN ('waiting', 'offered');
  IF NOT FOUND THEN
    -- no exception for an admin: nobody is asked when the place comes free
    PERFORM require_customer_limit(p_actor - 'reason', v_slot.resource_id, v_customer_id, p_now);
    INSERT INTO waitlist_entries (slot_id, customer_id, units, payment_method, created_at, updated_at)
    VALUES (p_slot_id, v_customer_id, p_units, p_payment_method, p_now, p_now);
    PERFORM offer_places(p_slot_id, p_now);
  END IF;

  SELECT * INTO v_entry
  FROM waitlist_entries w
  WHERE w.slot_id = p_slot_id AND w.customer_id = v_customer_id
  ORDER BY w.place_in_line DESC
  LIMIT 1;
  entry_id := v_entry.id;
  body := waitlist_entry_json(v_entry);
  RETURN NEXT;
END
$$
