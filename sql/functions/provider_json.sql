-- Promises: the one JSON shape of a provider, with the limits of its queue. Called by every function that answers one.
CREATE OR REPLACE FUNCTION provider_json(p_provider providers)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_queue job_queues;
BEGIN
  SELECT * INTO v_queue FROM job_queues q WHERE q.name = provider_queue(p_provider.name);
  RETURN json_build_object(
    'name', p_provider.name,
    'adapter', p_provider.adapter,
    'settings', p_provider.settings,
    'timezone', p_provider.timezone,
    'booking_window_days', p_provider.booking_window_days,
    'opens_at_local', to_char(p_provider.opens_at_local, 'HH24:MI'),
    'queue', provider_queue(p_provider.name),
    'stagger_ms', COALESCE(v_queue.stagger_ms, 0),
    'max_running', v_queue.max_running,
    'is_enabled', p_provider.is_enabled,
    'version', p_provider.version,
    'created_at', p_provider.created_at,
    'updated_at', p_provider.updated_at
  );
END
$$
