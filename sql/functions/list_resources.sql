-- Promises: one page of resources in order of creation, and the cursor of the next page or null.
-- Called by GET /v1/resources.
CREATE OR REPLACE FUNCTION list_resources(p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page resources[];
BEGIN
  v_page := ARRAY(
    SELECT r
    FROM resources r
    WHERE (r.created_at, r.id) > (v_after.at, v_after.id)
    ORDER BY r.created_at, r.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (SELECT json_agg(resource_json(r) ORDER BY r.created_at, r.id) FROM unnest(v_page[:p_limit]) r), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$
