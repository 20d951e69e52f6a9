-- Promises: why a message may not go out now, or null: it would be wrong, late or unwelcome. The row it tells of stays as it
-- was read until the caller's transaction ends. Called by begin_message.
-- Locks: booking or auto-sync (shared), so that it waits for a change under way, and a change waits for it.
CREATE OR REPLACE FUNCTION message_reason(p_message messages, p_now timestamptz DEFAULT clock_timestamp())
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers := (SELECT c FROM customers c WHERE c.id = p_message.customer_id);
  v_booking bookings;
BEGIN
  IF p_message.subject_type = 'booking' THEN
    SELECT * INTO v_booking FROM bookings b WHERE b.id = p_message.subject_id FOR SHARE;
    IF (v_booking.status, v_booking.starts_at) IS DISTINCT FROM (p_message.told_status, p_message.told_starts_at) THEN
      RETURN 'outdated';
    ELSIF p_message.template = 'booking_reminder' AND v_booking.starts_at <= p_now OR v_booking.expires_at <= p_now THEN
      RETURN 'too_late';
    END IF;
  ELSIF p_message.subject_type = 'auto_sync' AND auto_sync_message_is_outdated(p_message) THEN
    RETURN 'outdated';
  END IF;
  RETURN CASE
    WHEN NOT EXISTS (SELECT FROM message_channels h WHERE h.name = p_message.channel AND h.is_enabled)
      THEN 'channel_disabled'
    WHEN CASE p_message.channel WHEN 'email' THEN v_customer.email_opt_out ELSE v_customer.sms_opt_out END
      THEN 'opted_out'
    WHEN CASE p_message.channel WHEN 'email' THEN v_customer.email ELSE v_customer.phone END IS NULL THEN 'no_address'
  END;
END
$$
