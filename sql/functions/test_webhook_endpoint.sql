-- Promises: an event that says so is delivered to this endpoint alone, enabled or not, at once and with one attempt; its
-- delivery is answered. Called by POST /v1/webhook-endpoints/{id}/test.
-- Locks: endpoint, job. Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION test_webhook_endpoint(
  p_actor jsonb, p_endpoint_id uuid, p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints := lock_webhook_endpoint(p_endpoint_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- webhook_endpoints_write_audit_when_tested does the rest
  UPDATE webhook_endpoints e SET tested_at = p_now WHERE e.id = v_endpoint.id;
  RETURN (
    SELECT delivery_json(d)
    FROM deliveries d
    WHERE d.endpoint_id = p_endpoint_id AND d.event_type = 'webhook_endpoint.tested'
    ORDER BY d.audit_id DESC
    LIMIT 1
  );
END
$$
