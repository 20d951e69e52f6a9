-- Promises: the offered place is the customer's: the hold is a confirmed booking. One that is to be paid now is accepted
-- by paying for it. Called by POST /v1/waitlist/{id}/accept. Locks: slots by id, entry, booking, customer, then its jobs.
-- Raises: SB007 invalid_transition, SB013 hold_expired, what lock_waitlist_entry and require_customer_limit raise.
CREATE OR REPLACE FUNCTION accept_offer(p_actor jsonb, p_entry_id uuid, p_now timestamptz DEFAULT now())
RETURNS TABLE (booking_id uuid, booking_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry waitlist_entries;
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_entry := lock_waitlist_entry(p_actor, p_entry_id);
  IF v_entry.status NOT IN ('offered', 'accepted') OR v_entry.payment_method = 'pay_now' THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object(
        'waitlist_entry_id', p_entry_id, 'payment_method', v_entry.payment_method,
        'from', v_entry.status, 'to', 'accepted'
      );
  END IF;

  v_booking := lock_booking(p_actor, v_entry.booking_id);
  IF v_booking.expires_at <= p_now THEN
    RAISE EXCEPTION 'hold_expired' USING ERRCODE = 'SB013',
      DETAIL = json_build_object('booking_id', v_booking.id, 'expired_at', v_booking.expires_at);
  END IF;
  IF v_entry.status = 'offered' THEN
    PERFORM require_customer_limit(p_actor, v_booking.resource_id, v_booking.customer_id, p_now, p_held => 1);
    UPDATE bookings b
    SET status = 'confirmed', updated_at = p_now
    WHERE b.id = v_booking.id
    RETURNING * INTO v_booking;
  END IF;
  RETURN QUERY SELECT b.* FROM get_booking(v_booking.id) b;
END
$$
