-- Promises: one page of the crew's members who have not left, in the order in which they joined, and the next page's cursor.
-- Called by GET /v1/crews/{id}/members. Raises: SB030 crew_not_found.
CREATE OR REPLACE FUNCTION list_crew_members(
  p_crew_id uuid, p_customer_ref text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page crew_members[];
BEGIN
  PERFORM act_for(p_customer_ref);
  PERFORM get_crew(p_crew_id, p_customer_ref);
  v_page := ARRAY(
    SELECT m
    FROM crew_members m
    WHERE m.crew_id = p_crew_id AND m.left_at IS NULL AND (m.joined_at, m.id) > (v_after.at, v_after.id)
    ORDER BY m.joined_at, m.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items',
    COALESCE((SELECT json_agg(crew_member_json(m) ORDER BY m.joined_at, m.id) FROM unnest(v_page[:p_limit]) m), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].joined_at, v_page[p_limit].id) END
  );
END
$$
