-- Promises: the provider has these rules and its queue these limits, or neither has; the same again changes nothing.
-- Called by PUT /v1/providers/{name}. Locks: provider, then its queue. Raises: 22023 for a time zone Postgres does not know.
CREATE OR REPLACE FUNCTION put_provider(
  p_actor jsonb,
  p_name text,
  p_adapter text,
  p_settings jsonb,
  p_timezone text,
  p_booking_window_days integer DEFAULT NULL,
  p_opens_at_local time DEFAULT '00:00',
  p_is_enabled boolean DEFAULT true,
  p_max_running integer DEFAULT NULL,
  p_stagger_ms integer DEFAULT 50,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO providers AS p (
    name, adapter, settings, timezone, booking_window_days, opens_at_local, is_enabled, created_at, updated_at
  )
  VALUES (
    p_name, p_adapter, p_settings, p_timezone, p_booking_window_days, p_opens_at_local, p_is_enabled, p_now, p_now
  )
  ON CONFLICT (name) DO UPDATE
    SET adapter = EXCLUDED.adapter,
        settings = EXCLUDED.settings,
        timezone = EXCLUDED.timezone,
        booking_window_days = EXCLUDED.booking_window_days,
        opens_at_local = EXCLUDED.opens_at_local,
        is_enabled = EXCLUDED.is_enabled,
        version = p.version + 1,
        updated_at = EXCLUDED.updated_at
    WHERE (p.adapter, p.settings, p.timezone, p.booking_window_days, p.opens_at_local, p.is_enabled) IS DISTINCT FROM
      (EXCLUDED.adapter, EXCLUDED.settings, EXCLUDED.timezone, EXCLUDED.booking_window_days, EXCLUDED.opens_at_local,
       EXCLUDED.is_enabled);
  PERFORM put_queue(p_actor, provider_queue(p_name), p_max_running, p_stagger_ms, p_now);
  RETURN get_provider(p_name);
END
$$
