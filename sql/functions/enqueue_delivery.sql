-- Promises: the event is delivered to the endpoint, as soon as may be, whether it was before or not; answers the
-- delivery's id. Called by enqueue_deliveries, replay_delivery and replay_events. Locks: delivery, job.
CREATE OR REPLACE FUNCTION enqueue_delivery(
  p_endpoint_id uuid, p_audit_id bigint, p_event_type text, p_now timestamptz DEFAULT now()
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_delivery_id uuid;
BEGIN
  INSERT INTO deliveries AS d (endpoint_id, audit_id, event_type, created_at, updated_at)
  VALUES (p_endpoint_id, p_audit_id, p_event_type, p_now, p_now)
  ON CONFLICT (endpoint_id, audit_id) DO UPDATE SET status = 'pending', updated_at = EXCLUDED.updated_at
  RETURNING d.id INTO v_delivery_id;
  PERFORM enqueue_job(
    'deliver_webhook',
    jsonb_build_object('delivery_id', v_delivery_id, 'endpoint_id', p_endpoint_id),
    p_dedupe_key => v_delivery_id::text,
    p_queue => 'webhooks',
    p_max_attempts => CASE p_event_type WHEN 'webhook_endpoint.tested' THEN 1 ELSE 10 END,
    p_now => p_now
  );
  RETURN v_delivery_id;
END
$$
