-- Promises: an auto-sync knows how many have answered, and completes with the answer that meets its goal, once, however many
-- come at once; after its end nobody answers. Called by trigger auto_sync_participants_count, whoever writes.
-- Locks: auto-syncs by id, then what completing one locks. Raises: SB033 auto_sync_over, SB034 invalid_times.
CREATE OR REPLACE FUNCTION auto_sync_participants_count()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync auto_syncs;
  v_changed record;
BEGIN
  FOR v_changed IN
    SELECT
      n.auto_sync_id,
      count(*) FILTER (
        WHERE (n.answer, n.time_ids, n.answered_at) IS DISTINCT FROM (o.answer, o.time_ids, o.answered_at)
      ) AS responses,
      max(n.updated_at) AS at,
      bool_and(
        n.time_ids <@ t.ids AND (n.answer IS DISTINCT FROM 'accepted' OR n.time_ids <> '{}' OR t.ids = '{}')
      ) AS has_valid_times
    FROM changed_after n
    JOIN changed_before o ON o.id = n.id
    CROSS JOIN LATERAL (
      SELECT ARRAY(SELECT x.id FROM auto_sync_times x WHERE x.auto_sync_id = n.auto_sync_id) AS ids
    ) t
    WHERE (o.answer, o.time_ids, o.answered_at, o.removed_at)
      IS DISTINCT FROM (n.answer, n.time_ids, n.answered_at, n.removed_at)
    GROUP BY n.auto_sync_id
    ORDER BY n.auto_sync_id
  LOOP
    -- before the goal is looked at: of two last answers the second sees the first
    SELECT * INTO v_sync FROM auto_syncs a WHERE a.id = v_changed.auto_sync_id FOR NO KEY UPDATE;
    IF v_sync.status NOT IN ('running', 'paused') THEN
      RAISE EXCEPTION 'auto_sync_over' USING ERRCODE = 'SB033',
        DETAIL = json_build_object('auto_sync_id', v_sync.id, 'status', v_sync.status);
    END IF;
    IF NOT v_changed.has_valid_times THEN
      RAISE EXCEPTION 'invalid_times' USING ERRCODE = 'SB034',
        DETAIL = json_build_object('auto_sync_id', v_sync.id);
    END IF;

    UPDATE auto_syncs a
    SET responses = a.responses + v_changed.responses, updated_at = v_changed.at
    WHERE a.id = v_sync.id
    RETURNING * INTO v_sync;
    -- one that is paused does nothing by itself: its organizer resumes it
    IF v_sync.status = 'running' AND auto_sync_goal_is_met(v_sync) THEN
      PERFORM complete_auto_sync(v_sync, v_changed.at);
    END IF;
  END LOOP;
  RETURN NULL;
END
$$
