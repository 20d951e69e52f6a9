-- Promises: the events that a cursor has not passed, each once, those of one subject in the order of their commits; the last
-- row has no event, and the cursor to go on from. Reads p_limit events at most, and answers those that pass the filters.
-- Called by GET /v1/events and its page. A round is what one snapshot sees and the one before did not, by id; its cursor
-- is `seen~round~after~last`, at its end `round` alone. Without a cursor nothing has happened yet.
-- Raises: a data exception (class 22) for text that is no cursor of this database.
CREATE OR REPLACE FUNCTION read_events(
  p_cursor text DEFAULT NULL, p_types text[] DEFAULT NULL, p_customer_ref text DEFAULT NULL, p_limit integer DEFAULT 500
)
RETURNS TABLE (event_cursor text, event_name text, customer_ref text, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_now pg_snapshot := pg_current_snapshot();
  v_parts text[] := string_to_array(p_cursor, '~');
  v_seen pg_snapshot := COALESCE(v_parts[1]::pg_snapshot, v_now);
  v_round pg_snapshot := COALESCE(v_parts[2]::pg_snapshot, v_now);
  v_after bigint := v_parts[3]::bigint;
  v_last bigint := v_parts[4]::bigint;
  v_prefix text := v_seen || '~' || v_round || '~';
  v_page audit_log[];
BEGIN
  IF GREATEST(pg_snapshot_xmax(v_seen), pg_snapshot_xmax(v_round)) > pg_snapshot_xmax(v_now) THEN
    RAISE SQLSTATE '22023' USING MESSAGE = 'the cursor is ahead of this database';
  END IF;

  IF v_last IS NULL THEN
    -- "+ 0": or the planner looks for the least id from the beginning of the table on
    SELECT min(a.id + 0) - 1, max(a.id + 0) INTO v_after, v_last
    FROM (
      SELECT x.id FROM audit_log x WHERE x.xid >= pg_snapshot_xmax(v_seen) AND x.xid < pg_snapshot_xmax(v_round)
      UNION ALL
      SELECT x.id FROM audit_log x WHERE x.xid = ANY (ARRAY(SELECT pg_snapshot_xip(v_seen)))
    ) AS a;
  END IF;
  v_page := ARRAY(
    SELECT a
    FROM audit_log a
    WHERE a.id > v_after AND a.id <= v_last
      AND NOT pg_visible_in_snapshot(a.xid, v_seen) AND pg_visible_in_snapshot(a.xid, v_round)
    ORDER BY a.id
    LIMIT p_limit
  );

  RETURN QUERY
    SELECT v_prefix || a.id || '~' || v_last, event_type(a.event), c.ref, event_json(a, c.ref)
    FROM unnest(v_page) a
    LEFT JOIN customers c ON c.id = COALESCE(a.new_values ->> 'customer_id', a.new_values ->> 'organizer_id')::uuid
    WHERE (p_types IS NULL OR event_type(a.event) = ANY (p_types))
      AND (p_customer_ref IS NULL OR c.ref = p_customer_ref)
    ORDER BY a.id;
  event_cursor := CASE
    WHEN cardinality(v_page) = p_limit THEN v_prefix || v_page[p_limit].id || '~' || v_last
    ELSE v_round::text
  END;
  RETURN NEXT;
END
$$
