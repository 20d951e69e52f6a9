-- Promises: while a slot has room, the first in its line whom it would hold, and who may, is offered a place: a real hold for a set
-- time. Called by triggers, when a place comes free, and by join_waitlist. Locks: slot, entry, then the new booking.
CREATE OR REPLACE FUNCTION offer_places(p_slot_id uuid, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_actor text := current_setting('holdfast.actor', true);
  v_slot slots;
  v_rules schedules;
  v_entry waitlist_entries;
  v_booking bookings;
  v_until timestamptz;
BEGIN
  SELECT c.* INTO v_rules FROM schedules c JOIN slots s ON s.resource_id = c.resource_id WHERE s.id = p_slot_id;
  WHILE EXISTS (SELECT FROM waitlist_entries w WHERE w.slot_id = p_slot_id AND w.status = 'waiting') LOOP
    v_slot := lock_slot(p_slot_id);
    EXIT WHEN v_slot.is_legacy OR v_slot.starts_at <= p_now OR v_slot.booked_bookings >= v_slot.max_bookings;
    SELECT * INTO v_entry
    FROM waitlist_entries w
    WHERE w.slot_id = p_slot_id AND w.status = 'waiting'
      AND w.units <= COALESCE(v_slot.max_units - v_slot.booked_units, w.units)
      -- who has as many as the rules allow loses this turn, not the place in line
      AND (
        v_rules.max_bookings_per_customer IS NULL
        OR live_bookings(v_slot.resource_id, w.customer_id, p_now) < v_rules.max_bookings_per_customer
      )
    ORDER BY w.place_in_line
    LIMIT 1
    FOR NO KEY UPDATE;
    EXIT WHEN NOT FOUND;

    -- not who gave the place back: the line itself offers it
    PERFORM set_config(
      'holdfast.actor',
      jsonb_build_object(
        'type', 'system', 'id', 'waitlist', 'request_id', NULLIF(v_actor, '')::jsonb ->> 'request_id'
      )::text,
      true
    );
    v_until := p_now + make_interval(mins => COALESCE(v_rules.offer_minutes, 60));
    v_booking := place_booking(
      v_slot, v_entry.customer_id, v_entry.units, v_entry.payment_method, '{}', LEAST(v_until, v_slot.starts_at), p_now
    );
    UPDATE waitlist_entries w
    SET status = 'offered', booking_id = v_booking.id, updated_at = p_now
    WHERE w.id = v_entry.id;
    PERFORM set_config('holdfast.actor', COALESCE(v_actor, ''), true);
  END LOOP;
END
$$
