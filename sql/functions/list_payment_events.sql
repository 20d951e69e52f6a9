-- Promises: one page of what payment providers told us, by event id, and the cursor of the next page or null.
-- Called by GET /v1/payment-events.
CREATE OR REPLACE FUNCTION list_payment_events(
  p_outcome text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_after text := COALESCE(convert_from(decode(p_cursor, 'hex'), 'UTF8'), '');
  v_page payment_events[];
BEGIN
  v_page := ARRAY(
    SELECT e
    FROM payment_events e
    WHERE e.id > v_after AND (p_outcome IS NULL OR e.outcome = p_outcome)
    ORDER BY e.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE((SELECT json_agg(payment_event_json(e) ORDER BY e.id) FROM unnest(v_page[:p_limit]) e), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN encode(convert_to(v_page[p_limit].id, 'UTF8'), 'hex') END
  );
END
$$
