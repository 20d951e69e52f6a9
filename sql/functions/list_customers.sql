-- Promises: one page of the customers that pass every filter, newest first and how many bookings each has, and the next page's
-- cursor; none that was erased. An e-mail address is the same in capitals. Called by GET /v1/customers. Planned anew each
-- time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_customers(
  p_ref text DEFAULT NULL,
  p_email text DEFAULT NULL,
  p_phone text DEFAULT NULL,
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
  v_before record := read_cursor(p_cursor);
  v_page customers[];
BEGIN
  v_page := ARRAY(
    SELECT c
    FROM customers c
    WHERE c.erased_at IS NULL
      AND (p_cursor IS NULL OR (c.created_at, c.id) < (v_before.at, v_before.id))
      AND (p_ref IS NULL OR c.ref = p_ref)
      AND (p_email IS NULL OR lower(c.email) = lower(p_email))
      AND (p_phone IS NULL OR c.phone = p_phone)
    ORDER BY c.created_at DESC, c.id DESC
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(
          to_jsonb(c) - 'erased_at'
            || jsonb_build_object('bookings', (SELECT count(*) FROM bookings b WHERE b.customer_id = c.id))
          ORDER BY c.created_at DESC, c.id DESC
        )
        FROM unnest(v_page[:p_limit]) c
      ),
      '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$
