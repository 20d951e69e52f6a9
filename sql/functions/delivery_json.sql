-- Promises: the one JSON shape of a delivery. Called by the functions that answer deliveries.
CREATE OR REPLACE FUNCTION delivery_json(p_delivery deliveries)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_delivery.id,
    'endpoint_id', p_delivery.endpoint_id,
    'event_id', 'evt_' || p_delivery.audit_id,
    'event_type', p_delivery.event_type,
    'status', p_delivery.status,
    'attempt_count', p_delivery.attempts,
    'last_status', p_delivery.last_status,
    'last_duration_ms', p_delivery.last_duration_ms,
    'last_answer', p_delivery.last_answer,
    'last_error', p_delivery.last_error,
    'next_attempt_at', (
      SELECT j.run_at
      FROM jobs j
      WHERE j.dedupe_key = p_delivery.id::text AND j.job_type = 'deliver_webhook' AND j.status = 'pending'
    ),
    'created_at', p_delivery.created_at,
    'updated_at', p_delivery.updated_at
  );
END
$$
