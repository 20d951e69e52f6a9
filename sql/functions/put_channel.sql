-- Promises: messages go out over the channel from now on, or none are made for it any more; the same again changes nothing.
-- Answers all channels. Called by PUT /v1/message-channels/{name}. Locks: the channel.
CREATE OR REPLACE FUNCTION put_channel(p_actor jsonb, p_name text, p_is_enabled boolean, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO message_channels AS h (name, is_enabled, updated_at)
  VALUES (p_name, p_is_enabled, p_now)
  ON CONFLICT (name) DO UPDATE
    SET is_enabled = EXCLUDED.is_enabled, updated_at = EXCLUDED.updated_at
    WHERE h.is_enabled <> EXCLUDED.is_enabled;
  RETURN list_channels();
END
$$
