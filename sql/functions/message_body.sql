-- Promises: all that a message is made of, as it is now: the message, whom it is for and what it is about. It holds personal
-- data, and goes to nobody but the one who sends. Called by begin_message.
CREATE OR REPLACE FUNCTION message_body(p_message messages)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
  v_prebooking prebookings;
  v_sync auto_syncs;
  v_resource resources;
BEGIN
  IF p_message.subject_type = 'booking' THEN
    SELECT * INTO v_booking FROM bookings b WHERE b.id = p_message.subject_id;
  ELSIF p_message.subject_type = 'auto_sync' THEN
    SELECT * INTO v_sync FROM auto_syncs a WHERE a.id = p_message.subject_id;
  ELSE
    SELECT * INTO v_prebooking FROM prebookings p WHERE p.id = p_message.subject_id;
  END IF;
  SELECT * INTO v_resource FROM resources r WHERE r.id = COALESCE(v_booking.resource_id, v_prebooking.resource_id);
  RETURN jsonb_build_object(
    'channel', p_message.channel,
    'template', p_message.template,
    'customer', (
      SELECT jsonb_build_object(
        'name', c.name, 'email', c.email, 'phone', c.phone, 'language', c.language,
        'timezone', COALESCE(
          c.timezone, v_sync.timezone, v_resource.timezone, (SELECT p.timezone FROM providers p WHERE p.name = v_prebooking.provider)
        )
      )
      FROM customers c
      WHERE c.id = p_message.customer_id
    ),
    'resource', CASE
      WHEN v_resource.id IS NOT NULL THEN jsonb_build_object('name', v_resource.name, 'timezone', v_resource.timezone)
    END,
    'booking', CASE WHEN v_booking.id IS NOT NULL THEN to_jsonb(v_booking) - 'metadata' END,
    'prebooking', CASE
      WHEN v_prebooking.id IS NOT NULL THEN jsonb_build_object(
        'provider', v_prebooking.provider,
        'target', v_prebooking.targets -> COALESCE(v_prebooking.booked_choice - 1, 0),
        'confirmation', v_prebooking.confirmation
      )
    END,
    'auto_sync', CASE WHEN v_sync.id IS NOT NULL THEN auto_sync_facts(v_sync, p_message.customer_id) END
  );
END
$$
