-- Promises: what p_changes names replaces what was stored, if nobody changed the endpoint since the caller read it; one that
-- is enabled again begins anew. Called by PATCH /v1/webhook-endpoints/{id}.
-- Locks: endpoint. Raises: SB027 webhook_endpoint_not_found, SB006 version_conflict.
CREATE OR REPLACE FUNCTION update_webhook_endpoint(
  p_actor jsonb, p_endpoint_id uuid, p_version integer, p_changes jsonb, p_now timestamptz DEFAULT now()
)
RETURNS TABLE (endpoint_id uuid, endpoint_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints := lock_webhook_endpoint(p_endpoint_id);
  v_new webhook_endpoints := jsonb_populate_record(v_endpoint, p_changes);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF v_endpoint.version <> p_version THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('endpoint_id', p_endpoint_id, 'current_version', v_endpoint.version);
  END IF;

  UPDATE webhook_endpoints e
  SET url = v_new.url,
      event_types = v_new.event_types,
      description = v_new.description,
      is_enabled = v_new.is_enabled,
      disabled_reason = CASE WHEN NOT v_new.is_enabled THEN COALESCE(e.disabled_reason, 'by_hand') END,
      failing_since = CASE WHEN e.is_enabled OR NOT v_new.is_enabled THEN e.failing_since END,
      version = e.version + 1,
      updated_at = p_now
  WHERE e.id = p_endpoint_id
  RETURNING * INTO v_endpoint;
  RETURN QUERY SELECT v_endpoint.id, v_endpoint.version, webhook_endpoint_json(v_endpoint);
END
$$
