-- Promises: one page of the places in line that pass every filter, in order of joining, and the next page's cursor.
-- Called by GET /v1/waitlist. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_waitlist(
  p_slot_id uuid DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_status text DEFAULT NULL,
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
  v_page waitlist_entries[];
BEGIN
  PERFORM act_for(p_customer_ref);
  v_page := ARRAY(
    SELECT w
    FROM waitlist_entries w
    WHERE (w.created_at, w.id) > (v_after.at, v_after.id)
      AND (p_slot_id IS NULL OR w.slot_id = p_slot_id)
      AND (p_customer_ref IS NULL OR w.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref))
      AND (p_status IS NULL OR w.status = p_status)
    ORDER BY w.created_at, w.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (SELECT json_agg(waitlist_entry_json(w) ORDER BY w.created_at, w.id) FROM unnest(v_page[:p_limit]) w), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$
