-- Promises: the crew is asked whether and when, its reminder is due, and those it asks are invited; once per key.
-- Called by POST /v1/auto-syncs. Locks: crew, then what is new.
-- Raises: SB009 resource_not_found, SB010 idempotency_conflict, SB030 crew_not_found, SB031 crew_member_not_found (named,
-- and not in the crew), SB034 invalid_times.
CREATE OR REPLACE FUNCTION create_auto_sync(
  p_actor jsonb,
  p_crew_id uuid,
  p_event_name text,
  p_timezone text,
  p_response_goal text DEFAULT 'everyone',
  p_goal_number integer DEFAULT NULL,
  p_goal_share numeric DEFAULT NULL,
  p_named_refs text[] DEFAULT '{}',
  p_reminder_after interval DEFAULT '24 hours',
  p_pause_after interval DEFAULT '48 hours',
  p_times jsonb DEFAULT '[]',
  p_resource_id uuid DEFAULT NULL,
  p_units integer DEFAULT 1,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (auto_sync_id uuid, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_crew crews;
  v_named bigint;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_crew := lock_crew(p_actor, p_crew_id);

  body := replay_request(p_actor ->> 'id', 'create_auto_sync', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    IF p_resource_id IS NOT NULL THEN
      PERFORM get_resource(p_resource_id);
    END IF;
    INSERT INTO auto_syncs AS a (
      crew_id, organizer_id, event_name, response_goal, goal_number, goal_share, timezone, reminder_after, pause_after,
      resource_id, units, started_at, created_at, updated_at
    )
    VALUES (
      p_crew_id, v_crew.organizer_id, p_event_name, p_response_goal, p_goal_number, p_goal_share, p_timezone,
      p_reminder_after, p_pause_after, p_resource_id, p_units, p_now, p_now, p_now
    )
    RETURNING a.id INTO auto_sync_id;
    PERFORM propose_times(auto_sync_id, p_resource_id, p_times, p_now);
    v_named := name_participants(auto_sync_id, p_named_refs);
    IF v_named < (SELECT count(DISTINCT r) FROM unnest(p_named_refs) r) THEN
      RAISE EXCEPTION 'crew_member_not_found' USING ERRCODE = 'SB031',
        DETAIL = json_build_object('crew_id', p_crew_id, 'customer_refs', p_named_refs);
    END IF;
    body := get_auto_sync(auto_sync_id);
    PERFORM remember_request(p_actor ->> 'id', 'create_auto_sync', p_idempotency_key, p_request_hash, body, p_now);
  END IF;
  auto_sync_id := (body ->> 'id')::uuid;
  RETURN NEXT;
END
$$
