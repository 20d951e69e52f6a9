-- Promises: an event has a delivery for each enabled endpoint that wants it, in the event's own transaction; a test has one
-- for the endpoint that is tested, whatever it wants. Called by write_audit_log.
CREATE OR REPLACE FUNCTION enqueue_deliveries(p_event audit_log)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_type text := event_type(p_event.event);
BEGIN
  PERFORM enqueue_delivery(e.id, p_event.id, v_type, p_event.created_at)
  FROM (
    SELECT e.id
    FROM webhook_endpoints e
    WHERE CASE p_event.event
      WHEN 'webhook_endpoint.tested' THEN e.id::text = p_event.subject_id
      ELSE e.is_enabled AND (e.event_types IS NULL OR v_type = ANY (e.event_types))
    END
    ORDER BY e.id
  ) e;
END
$$
