-- Promises: an event has a delivery for each enabled endpoint that wants it, in the event's own transaction; a test has one
-- for the endpoint that is tested, whatever it wants. Called by trigger audit_log_deliver_event.
CREATE OR REPLACE FUNCTION deliver_event()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint_id uuid;
BEGIN
  -- a tenth of what the look below costs, for those who have no webhooks
  IF NOT EXISTS (SELECT FROM webhook_endpoints) THEN
    RETURN NULL;
  END IF;

  FOR v_endpoint_id IN
    SELECT e.id
    FROM webhook_endpoints e
    WHERE CASE NEW.event
      WHEN 'webhook_endpoint.tested' THEN e.id::text = NEW.subject_id
      ELSE e.is_enabled AND (e.event_types IS NULL OR event_type(NEW.event) = ANY (e.event_types))
    END
    ORDER BY e.id
  LOOP
    PERFORM enqueue_delivery(v_endpoint_id, NEW.id, event_type(NEW.event), NEW.created_at);
  END LOOP;
  RETURN NULL;
END
$$
