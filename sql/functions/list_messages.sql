-- Promises: one page of the messages that pass every filter, in order of creation, and the next page's cursor; no address
-- and no text. Called by GET /v1/messages. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_messages(
  p_customer_ref text DEFAULT NULL, p_status text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page messages[];
BEGIN
  PERFORM act_for(p_customer_ref);
  v_page := ARRAY(
    SELECT m
    FROM messages m
    WHERE (m.created_at, m.id) > (v_after.at, v_after.id)
      AND (p_customer_ref IS NULL OR m.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref))
      AND (p_status IS NULL OR m.status = p_status)
    ORDER BY m.created_at, m.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(
          to_jsonb(m) - '{customer_id,told_status,told_starts_at,sending_at}'::text[]
            || jsonb_build_object('customer_ref', c.ref)
          ORDER BY m.created_at, m.id
        )
        FROM unnest(v_page[:p_limit]) m
        JOIN customers c ON c.id = m.customer_id
      ),
      '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$
