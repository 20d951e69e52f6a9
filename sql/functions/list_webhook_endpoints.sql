-- Promises: every webhook endpoint, in order of creation. Called by GET /v1/webhook-endpoints.
CREATE OR REPLACE FUNCTION list_webhook_endpoints()
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object('items', COALESCE(
    (SELECT json_agg(webhook_endpoint_json(e) ORDER BY e.created_at, e.id) FROM webhook_endpoints e), '[]'
  ));
END
$$
