-- Promises: messages go out over the channel from now on, or none are made for it any more; the same again changes nothing.
-- Answers all channels. Called by PUT /v1/message-channels/{name}. Locks: the channel.
CREATE OR REPLACE FUNCTION put_channel(p_actor jsonb, p_name text, p_is_enabled boolean, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE message_channels h
  SET is_enabled = p_is_enabled, updated_at = p_now
  WHERE h.name = p_name AND h.is_enabled <> p_is_enabled;
  RETURN list_channels();
END
$$
