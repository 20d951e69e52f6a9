-- Promises: the feeds of the resource, or of the customer, that are not revoked, in order of creation; never their hashes.
-- Called by GET /v1/resources/{id}/calendar-feeds and /v1/customers/{ref}/calendar-feeds. Raises: SB009 resource_not_found.
CREATE OR REPLACE FUNCTION list_calendar_feeds(p_resource_id uuid DEFAULT NULL, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM act_for(p_customer_ref);
  IF p_resource_id IS NOT NULL THEN
    PERFORM get_resource(p_resource_id);
  END IF;
  RETURN (
    SELECT json_build_object('items', COALESCE(json_agg(calendar_feed_json(f) ORDER BY f.created_at, f.id), '[]'))
    FROM calendar_feeds f
    WHERE f.revoked_at IS NULL
      AND (
        f.resource_id = p_resource_id
        OR f.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref)
      )
  );
END
$$
