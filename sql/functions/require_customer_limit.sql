-- Promises: returns only if the customer has fewer live bookings of the resource than its rules allow, p_held of them
-- apart. Bookings of one customer count one after the other. Locks: customer, after the slots.
-- Called by book_slot and join_waitlist, and by accept_offer for what is held already.
-- Raises: SB018 limit_reached, but not for an admin who gives a reason.
CREATE OR REPLACE FUNCTION require_customer_limit(
  p_actor jsonb, p_resource_id uuid, p_customer_id uuid, p_now timestamptz DEFAULT now(), p_held integer DEFAULT 0
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_limit integer := (SELECT c.max_bookings_per_customer FROM schedules c WHERE c.resource_id = p_resource_id);
  v_live bigint;
BEGIN
  IF v_limit IS NULL OR may_override(p_actor) THEN
    RETURN;
  END IF;

  PERFORM FROM customers c WHERE c.id = p_customer_id FOR NO KEY UPDATE;
  v_live := live_bookings(p_resource_id, p_customer_id, p_now) - p_held;
  IF v_live >= v_limit THEN
    RAISE EXCEPTION 'limit_reached' USING ERRCODE = 'SB018',
      DETAIL = json_build_object(
        'rule', 'max_bookings_per_customer', 'resource_id', p_resource_id, 'limit', v_limit, 'live_bookings', v_live
      );
  END IF;
END
$$
