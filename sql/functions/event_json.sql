-- Promises: the one JSON shape of an event, with its subject as it was then. Called by read_events.
-- `sequence` grows with each event of a subject: its version, where the database itself sees to it that this one grows
-- with every change; else the event's own number.
CREATE OR REPLACE FUNCTION event_json(p_entry audit_log, p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_type text := event_type(p_entry.event);
BEGIN
  RETURN json_build_object(
    'id', 'evt_' || p_entry.id,
    'type', v_type,
    'created_at', p_entry.created_at,
    'sequence', CASE
      WHEN p_entry.subject_type IN ('booking', 'prebooking', 'auto_sync') THEN (p_entry.new_values ->> 'version')::bigint
      ELSE p_entry.id
    END,
    'subject', json_build_object('type', split_part(v_type, '.', 1), 'id', p_entry.subject_id),
    'data', CASE p_entry.subject_type
      WHEN 'booking' THEN booking_json(jsonb_populate_record(NULL::bookings, p_entry.new_values), p_customer_ref)
      WHEN 'prebooking' THEN prebooking_json(
        jsonb_populate_record(NULL::prebookings, p_entry.new_values), (p_entry.new_values ->> 'updated_at')::timestamptz
      )
      WHEN 'auto_sync' THEN auto_sync_json(jsonb_populate_record(NULL::auto_syncs, p_entry.new_values))
      -- a date without hours of its own has the weekly ones again
      WHEN 'schedule_exception' THEN COALESCE(p_entry.new_values, p_entry.old_values || '{"hours": null}')::json
      ELSE COALESCE(p_entry.new_values, p_entry.old_values)::json
    END
  );
END
$$
