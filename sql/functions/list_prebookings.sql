-- Promises: one page of the prebookings that pass every filter, in order of creation, and the next page's cursor.
-- Called by GET /v1/prebookings. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_prebookings(
  p_resource_id uuid DEFAULT NULL,
  p_provider text DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_status text DEFAULT NULL,
  p_needs_attention boolean DEFAULT NULL,
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
  v_page prebookings[];
BEGIN
  PERFORM act_for(p_customer_ref);
  v_page := ARRAY(
    SELECT p
    FROM prebookings p
    WHERE (p.created_at, p.id) > (v_after.at, v_after.id)
      AND (p_resource_id IS NULL OR p.resource_id = p_resource_id)
      AND (p_provider IS NULL OR p.provider = p_provider)
      AND (p_customer_ref IS NULL OR p.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref))
      AND (p_status IS NULL OR p.status = p_status)
      AND (p_needs_attention IS NULL OR p.needs_attention = p_needs_attention)
    ORDER BY p.created_at, p.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (SELECT json_agg(prebooking_json(p) ORDER BY p.created_at, p.id) FROM unnest(v_page[:p_limit]) p), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$
