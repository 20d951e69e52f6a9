-- Promises: one page of the auto-syncs that pass every filter, in order of creation, and the next page's cursor.
-- Called by GET /v1/auto-syncs. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_auto_syncs(
  p_crew_id uuid DEFAULT NULL,
  p_status text DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_limit integer DEFAULT 50,
  p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page auto_syncs[];
BEGIN
  PERFORM act_for(p_customer_ref);
  v_page := ARRAY(
    SELECT a
    FROM auto_syncs a
    WHERE (a.created_at, a.id) > (v_after.at, v_after.id)
      AND (p_crew_id IS NULL OR a.crew_id = p_crew_id)
      AND (p_status IS NULL OR a.status = p_status)
      AND (p_customer_ref IS NULL OR a.crew_id IN (SELECT crews_of(p_customer_ref)))
    ORDER BY a.created_at, a.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (SELECT json_agg(auto_sync_json(a) ORDER BY a.created_at, a.id) FROM unnest(v_page[:p_limit]) a), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$
