-- Promises: whoever booked is told what changed, by a message made in the transaction of the change, whoever made it.
-- Called by trigger audit_log_make_messages for events.
CREATE OR REPLACE FUNCTION audit_log_make_messages()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_template text;
BEGIN
  IF NOT EXISTS (SELECT FROM message_channels h WHERE h.is_enabled) THEN
    RETURN NULL;
  END IF;
  v_template := message_template(NEW.event, NEW.new_values);
  IF v_template IS NOT NULL THEN
    PERFORM make_messages(
      v_template,
      (NEW.new_values ->> 'customer_id')::uuid,
      NEW.subject_type,
      NEW.subject_id::uuid,
      'evt_' || NEW.id,
      NEW.new_values ->> 'status',
      CASE NEW.subject_type WHEN 'booking' THEN (NEW.new_values ->> 'starts_at')::timestamptz END,
      NEW.created_at
    );
  END IF;
  RETURN NULL;
END
$$
