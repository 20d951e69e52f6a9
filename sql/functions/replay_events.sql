-- Promises: every event of [p_from, p_to) that the endpoint wants is delivered to it, whether it was before or not; p_limit
-- at most, and `next_from` is where to go on, or null. Called by POST /v1/webhook-endpoints/{id}/replay.
-- Locks: deliveries and jobs, by event. Raises: SB027 webhook_endpoint_not_found, SB029 webhook_endpoint_disabled.
CREATE OR REPLACE FUNCTION replay_events(
  p_actor jsonb,
  p_endpoint_id uuid,
  p_from timestamptz,
  p_to timestamptz,
  p_limit integer DEFAULT 5000,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_types text[] := (require_enabled_endpoint(p_endpoint_id)).event_types;
  v_wanted audit_log[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_wanted := ARRAY(
    SELECT a
    FROM audit_log a
    WHERE a.xid IS NOT NULL AND a.created_at >= p_from AND a.created_at < p_to
      AND (v_types IS NULL OR event_type(a.event) = ANY (v_types)) AND a.event <> 'webhook_endpoint.tested'
    ORDER BY a.created_at, a.id
    LIMIT p_limit + 1
  );
  PERFORM enqueue_delivery(p_endpoint_id, w.id, event_type(w.event), p_now) FROM unnest(v_wanted[:p_limit]) w
  ORDER BY w.id;
  RETURN json_build_object(
    'replayed', LEAST(cardinality(v_wanted), p_limit), 'next_from', v_wanted[p_limit + 1].created_at
  );
END
$$
