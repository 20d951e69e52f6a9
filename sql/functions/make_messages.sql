-- Promises: a message on each enabled channel on which the customer can and wants to be reached, with the job that sends
-- it, in the caller's transaction; once under a key, however often it is asked for.
-- Called by make_event_messages and remind_due_bookings. Locks: none but its own new rows.
CREATE OR REPLACE FUNCTION make_messages(
  p_template text,
  p_customer_id uuid,
  p_subject_type text,
  p_subject_id uuid,
  p_dedupe_key text,
  p_told_status text,
  p_told_starts_at timestamptz,
  p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_message_id uuid;
  v_channel text;
BEGIN
  FOR v_message_id, v_channel IN
    INSERT INTO messages (
      customer_id, channel, template, subject_type, subject_id, told_status, told_starts_at, dedupe_key, created_at,
      updated_at
    )
    SELECT c.id, h.name, p_template, p_subject_type, p_subject_id, p_told_status, p_told_starts_at, p_dedupe_key, p_now,
      p_now
    FROM message_channels h
    JOIN customers c ON c.id = p_customer_id
    WHERE h.is_enabled AND CASE h.name
      WHEN 'email' THEN c.email IS NOT NULL AND NOT c.email_opt_out
      ELSE c.phone IS NOT NULL AND NOT c.sms_opt_out
    END
    ON CONFLICT (dedupe_key, channel) DO NOTHING
    RETURNING id, channel
  LOOP
    PERFORM enqueue_job(
      'send_message', jsonb_build_object('message_id', v_message_id, 'channel', v_channel), p_now, v_message_id::text,
      'messages',
      p_booking_id => CASE p_subject_type WHEN 'booking' THEN p_subject_id END, p_now => p_now
    );
  END LOOP;
END
$$
