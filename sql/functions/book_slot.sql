-- Promises: a booking in a slot that its caller has locked, if newcomers may take it, it has room, and the customer has
-- not reached the limit. Called by create_booking_safe, create_bookings_safe and create_recurring_bookings.
-- Locks: customer, then the new booking and its job. Raises: what require_open_slot, require_turn, require_room and
-- require_customer_limit raise.
CREATE OR REPLACE FUNCTION book_slot(
  p_actor jsonb,
  p_slot slots,
  p_customer jsonb,
  p_units integer,
  p_payment_method text,
  p_metadata jsonb,
  p_now timestamptz DEFAULT now()
)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer_id uuid;
BEGIN
  PERFORM require_open_slot(p_actor, p_slot, p_now);
  PERFORM require_turn(p_actor, p_slot, p_units, p_now);
  PERFORM require_room(p_slot, p_units, 1, p_now);
  v_customer_id := upsert_customer(p_customer, p_now);
  PERFORM require_customer_limit(p_actor, p_slot.resource_id, v_customer_id, p_now);
  RETURN place_booking(
    p_slot, v_customer_id, p_units, p_payment_method, p_metadata,
    CASE p_payment_method WHEN 'pay_now' THEN hold_until(p_slot.resource_id, p_now) END, p_now
  );
END
$$
