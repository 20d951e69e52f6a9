-- Promises: the event is delivered to the endpoint once more, as soon as may be. Called by POST /v1/deliveries/{id}/replay.
-- Locks: delivery, job. Raises: SB028 delivery_not_found, SB029 webhook_endpoint_disabled.
CREATE OR REPLACE FUNCTION replay_delivery(
  p_actor jsonb, p_delivery_id uuid, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_delivery deliveries;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_delivery(p_delivery_id);
  SELECT * INTO v_delivery FROM deliveries d WHERE d.id = p_delivery_id;
  PERFORM require_enabled_endpoint(v_delivery.endpoint_id);
  PERFORM enqueue_delivery(v_delivery.endpoint_id, v_delivery.audit_id, v_delivery.event_type, p_now);
  RETURN get_delivery(p_delivery_id);
END
$$
