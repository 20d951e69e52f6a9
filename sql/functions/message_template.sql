-- Promises: the template of the message that tells a customer of an audited change, or null where nobody is told: one line
-- an event. Called by make_event_messages, with the row as it was after the change.
CREATE OR REPLACE FUNCTION message_template(p_event text, p_values jsonb)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
  -- whoever was imported has been told elsewhere
  WHEN p_event = 'booking.created' AND p_values ->> 'external_id' IS NOT NULL THEN NULL
  WHEN p_event = 'booking.created' AND p_values ->> 'status' = 'confirmed' THEN 'booking_confirmed'
  WHEN p_event = 'booking.created' AND p_values ->> 'status' = 'pending' THEN 'booking_held'
  WHEN p_event IN ('booking.confirmed', 'booking.rescheduled', 'booking.cancelled') THEN replace(p_event, '.', '_')
  WHEN p_event IN ('booking.expired', 'booking.failed') THEN 'booking_expired'
  -- at a resource of ours the booking tells it
  WHEN p_event = 'prebooking.succeeded' AND p_values ->> 'provider' IS NOT NULL THEN 'prebooking_succeeded'
  -- of one that a person has to look at nobody knows whether it failed
  WHEN p_event = 'prebooking.failed' AND p_values ->> 'needs_attention' = 'false' THEN 'prebooking_failed'
END
