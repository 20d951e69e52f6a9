-- Promises: one page of the bookings that pass every given filter, by start, and the next page's cursor or null.
-- Called by GET /v1/bookings. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_bookings(
  p_status text DEFAULT NULL,
  p_resource_id uuid DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_from timestamptz DEFAULT NULL,
  p_to timestamptz DEFAULT NULL,
  p_updated_since timestamptz DEFAULT NULL,
  p_metadata jsonb DEFAULT NULL,
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
  v_page bookings[];
BEGIN
  PERFORM act_for(p_customer_ref);
  v_page := ARRAY(
    SELECT b
    FROM bookings b
    WHERE (b.starts_at, b.id) > (v_after.at, v_after.id)
      AND (p_status IS NULL OR b.status = p_status)
      AND (p_resource_id IS NULL OR b.resource_id = p_resource_id)
      AND (p_customer_ref IS NULL OR b.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref))
      AND (p_from IS NULL OR b.starts_at >= p_from)
      AND (p_to IS NULL OR b.starts_at < p_to)
      AND (p_updated_since IS NULL OR b.updated_at >= p_updated_since)
      AND (NULLIF(p_metadata, '{}') IS NULL OR b.metadata @> p_metadata AND b.metadata <> '{}')
    ORDER BY b.starts_at, b.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(booking_json(b, c.ref) ORDER BY b.starts_at, b.id)
        FROM unnest(v_page[:p_limit]) b
        JOIN customers c ON c.id = b.customer_id
      ),
      '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].starts_at, v_page[p_limit].id) END
  );
END
$$
