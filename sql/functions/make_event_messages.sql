-- Promises: whoever booked is told what changed, by a message made in the transaction of the change, whoever made it.
-- Called by write_audit_log for events.
CREATE OR REPLACE FUNCTION make_event_messages(p_event audit_log)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_template text := message_template(p_event.event, p_event.new_values);
BEGIN
  IF v_template IS NOT NULL THEN
    PERFORM make_messages(
      v_template,
      (p_event.new_values ->> 'customer_id')::uuid,
      p_event.subject_type,
      p_event.subject_id::uuid,
      'evt_' || p_event.id,
      p_event.new_values ->> 'status',
      CASE p_event.subject_type WHEN 'booking' THEN (p_event.new_values ->> 'starts_at')::timestamptz END,
      p_event.created_at
    );
  END IF;
END
$$
