-- Promises: one page of the credentials that pass every filter, in order of creation, and the next page's cursor or null;
-- nothing of a secret. Called by GET /v1/credentials. Planned anew each time: the filters decide which index serves.
CREATE OR REPLACE FUNCTION list_credentials(
  p_customer_ref text DEFAULT NULL, p_provider text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page provider_credentials[];
BEGIN
  PERFORM act_for(p_customer_ref);
  v_page := ARRAY(
    SELECT c
    FROM provider_credentials c
    WHERE (c.created_at, c.id) > (v_after.at, v_after.id)
      AND (p_customer_ref IS NULL OR c.customer_id = (SELECT u.id FROM customers u WHERE u.ref = p_customer_ref))
      AND (p_provider IS NULL OR c.provider = p_provider)
    ORDER BY c.created_at, c.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(credentials_json(c, u.ref) ORDER BY c.created_at, c.id)
        FROM unnest(v_page[:p_limit]) c
        JOIN customers u ON u.id = c.customer_id
      ),
      '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$
