-- Promises: returns only if the locked customer may be erased now: no legal hold, and nothing that is still to happen.
-- Called by erase_customer. Raises: SB035 legal_hold, SB036 customer_active.
CREATE OR REPLACE FUNCTION require_erasable(p_customer customers, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_bookings bigint := (
    SELECT count(*) FROM bookings b
    WHERE b.customer_id = p_customer.id AND b.status IN ('pending', 'confirmed') AND b.ends_at > p_now
  );
  v_prebookings bigint := (
    SELECT count(*) FROM prebookings p WHERE p.customer_id = p_customer.id AND p.status IN ('pending', 'executing')
  );
  v_entries bigint := (
    SELECT count(*) FROM waitlist_entries w WHERE w.customer_id = p_customer.id AND w.status IN ('waiting', 'offered')
  );
  v_auto_syncs bigint := (
    SELECT count(*) FROM auto_syncs a
    WHERE a.status IN ('running', 'paused') AND (
      a.organizer_id = p_customer.id
      OR EXISTS (
        SELECT FROM auto_sync_participants p
        WHERE p.auto_sync_id = a.id AND p.customer_id = p_customer.id AND p.removed_at IS NULL
      )
    )
  );
  v_messages bigint := (SELECT count(*) FROM messages m WHERE m.customer_id = p_customer.id AND m.status = 'sending');
BEGIN
  IF p_customer.legal_hold_since IS NOT NULL THEN
    RAISE EXCEPTION 'legal_hold' USING ERRCODE = 'SB035', DETAIL = json_build_object('since', p_customer.legal_hold_since);
  END IF;
  IF v_bookings + v_prebookings + v_entries + v_auto_syncs + v_messages > 0 THEN
    RAISE EXCEPTION 'customer_active' USING ERRCODE = 'SB036', DETAIL = json_build_object(
      'bookings', v_bookings, 'prebookings', v_prebookings, 'waitlist_entries', v_entries, 'auto_syncs', v_auto_syncs,
      'messages', v_messages
    );
  END IF;
END
$$
