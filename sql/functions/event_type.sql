-- Promises: the name under which an audit row is told outside, or null for what is not told: one line a subject.
-- Called by write_audit_log, which marks such rows as events, and by event_json.
CREATE OR REPLACE FUNCTION event_type(p_event text)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE split_part(p_event, '.', 1)
  WHEN 'booking' THEN p_event
  WHEN 'prebooking' THEN p_event
  WHEN 'auto_sync' THEN p_event
  WHEN 'schedule' THEN 'schedule.changed'
  WHEN 'schedule_exception' THEN 'schedule.changed'
  ELSE CASE
    WHEN p_event IN ('slot.full', 'credentials.invalid', 'webhook_endpoint.disabled', 'webhook_endpoint.tested')
      THEN p_event
  END
END
