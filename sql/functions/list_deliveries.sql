-- Promises: one page of the deliveries that pass every filter, in order of creation, and the next page's cursor or null.
-- Called by GET /v1/deliveries. Planned anew each time: the filters decide which index serves.
CREATE OR REPLACE FUNCTION list_deliveries(
  p_endpoint_id uuid DEFAULT NULL,
  p_status text DEFAULT NULL,
  p_event_type text DEFAULT NULL,
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
  v_page deliveries[];
BEGIN
  v_page := ARRAY(
    SELECT d
    FROM deliveries d
    WHERE (d.created_at, d.id) > (v_after.at, v_after.id)
      AND (p_endpoint_id IS NULL OR d.endpoint_id = p_endpoint_id)
      AND (p_status IS NULL OR d.status = p_status)
      AND (p_event_type IS NULL OR d.event_type = p_event_type)
    ORDER BY d.created_at, d.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (SELECT json_agg(delivery_json(d) ORDER BY d.created_at, d.id) FROM unnest(v_page[:p_limit]) d), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$
