-- Promises: the one JSON shape of an auto-sync and of its events; durations are in seconds.
-- Called by get_auto_sync, list_auto_syncs and event_json.
CREATE OR REPLACE FUNCTION auto_sync_json(p_sync auto_syncs)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_sync.id,
    'crew_id', p_sync.crew_id,
    'organizer_ref', (SELECT c.ref FROM customers c WHERE c.id = p_sync.organizer_id),
    'event_name', p_sync.event_name,
    'status', p_sync.status,
    'response_goal', CASE p_sync.response_goal
      WHEN 'everyone' THEN to_jsonb('everyone'::text)
      WHEN 'number' THEN to_jsonb(p_sync.goal_number)
      WHEN 'share' THEN jsonb_build_object('share', p_sync.goal_share)
      ELSE jsonb_build_object('customer_refs', (
        SELECT COALESCE(jsonb_agg(c.ref ORDER BY c.ref), '[]')
        FROM auto_sync_participants p
        JOIN customers c ON c.id = p.customer_id
        WHERE p.auto_sync_id = p_sync.id AND p.is_named
      ))
    END,
    'timezone', p_sync.timezone,
    'reminder_after', extract(epoch FROM p_sync.reminder_after)::bigint,
    'pause_after', extract(epoch FROM p_sync.pause_after)::bigint,
    'resource_id', p_sync.resource_id,
    'units', p_sync.units,
    'times', COALESCE(
      (
        SELECT json_agg(
          json_build_object('id', t.id, 'starts_at', t.starts_at, 'ends_at', t.ends_at, 'slot_id', t.slot_id)
          ORDER BY t.position
        )
        FROM auto_sync_times t
        WHERE t.auto_sync_id = p_sync.id
      ),
      '[]'
    ),
    'answered', p_sync.answered,
    'started_at', p_sync.started_at,
    'reminded_at', p_sync.reminded_at,
    'paused_at', p_sync.paused_at,
    'pause_reason', p_sync.pause_reason,
    'resumed_at', p_sync.resumed_at,
    'completed_at', p_sync.completed_at,
    'winning_time_id', p_sync.winning_time_id,
    'booking_id', p_sync.booking_id,
    'booking_error', p_sync.booking_error,
    'version', p_sync.version,
    'created_at', p_sync.created_at,
    'updated_at', p_sync.updated_at
  );
END
$$
