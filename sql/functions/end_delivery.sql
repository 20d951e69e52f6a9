-- Promises: what came of an attempt is on record: the event is delivered if p_error is null. An endpoint that is gone (410),
-- or has failed for five days without a success and this delivery three times, is disabled.
-- Called by the handler; what is to be done further is up to the job. Locks: delivery, endpoint.
CREATE OR REPLACE FUNCTION end_delivery(
  p_actor jsonb,
  p_delivery_id uuid,
  p_status integer,
  p_duration_ms integer,
  p_answer text,
  p_error text,
  p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_delivery deliveries;
  v_is_delivered boolean := p_error IS NULL;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE deliveries d
  SET status = CASE WHEN v_is_delivered THEN 'delivered' ELSE d.status END,
      attempts = d.attempts + 1,
      last_status = p_status,
      last_duration_ms = p_duration_ms,
      last_answer = p_answer,
      last_error = p_error,
      updated_at = p_now
  WHERE d.id = p_delivery_id
  RETURNING * INTO v_delivery;
  INSERT INTO delivery_attempts (delivery_id, attempt, status, duration_ms, answer, error, ended_at)
  VALUES (p_delivery_id, v_delivery.attempts, p_status, p_duration_ms, p_answer, p_error, p_now);

  -- most find nothing to change, so that those to one endpoint do not queue for its row
  UPDATE webhook_endpoints e
  SET failing_since = CASE WHEN NOT v_is_delivered THEN p_now END
  WHERE e.id = v_delivery.endpoint_id AND (e.failing_since IS NULL) <> v_is_delivered;
  PERFORM disable_webhook_endpoint(p_actor, e.id, CASE p_status WHEN 410 THEN 'gone' ELSE 'failing' END, p_now)
  FROM webhook_endpoints e
  WHERE e.id = v_delivery.endpoint_id AND e.is_enabled AND NOT v_is_delivered
    AND (p_status = 410 OR e.failing_since <= p_now - interval '5 days' AND v_delivery.attempts >= 3);
END
$$
