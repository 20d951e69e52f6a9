-- Promises: a booking for a prebooking in a slot that is locked, if the slot is open, it has room, and the customer has not
-- reached the limit. Called by book_first_choice. Locks: customer, then the new booking and its job.
-- Raises: what require_open_slot, require_room and require_customer_limit raise.
CREATE OR REPLACE FUNCTION take_place(
  p_actor jsonb, p_slot slots, p_prebooking prebookings, p_now timestamptz DEFAULT now()
)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM require_open_slot(p_actor, p_slot, p_now);
  PERFORM require_room(p_slot, p_prebooking.units, 1, p_now);
  PERFORM require_customer_limit(p_actor, p_slot.resource_id, p_prebooking.customer_id, p_now);
  RETURN place_booking(
    p_slot, p_prebooking.customer_id, p_prebooking.units, p_prebooking.payment_method,
    jsonb_build_object('prebooking_id', p_prebooking.id),
    CASE p_prebooking.payment_method WHEN 'pay_now' THEN hold_until(p_slot.resource_id, p_now) END, p_now
  );
END
$$
