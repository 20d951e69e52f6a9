-- Promises: the one JSON shape of a payment event; action is what a person has to do about it, if anything.
-- Called by record_payment_event and list_payment_events.
CREATE OR REPLACE FUNCTION payment_event_json(p_event payment_events)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_event.id,
    'event_type', p_event.event_type,
    'booking_id', p_event.booking_id,
    'payment_status', p_event.payment_status,
    'outcome', p_event.outcome,
    'action', CASE
      WHEN p_event.payment_status = 'paid' AND p_event.outcome IN ('hold_expired', 'invalid_transition') THEN 'refund'
      WHEN p_event.payment_status = 'paid' AND p_event.outcome = 'booking_not_found' THEN 'find_booking'
    END,
    'created_at', p_event.created_at
  );
END
$$
