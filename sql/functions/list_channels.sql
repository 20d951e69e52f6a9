-- Promises: every channel, and whether messages go out over it. Called by GET /v1/message-channels, put_channel and
-- `holdfast doctor`.
CREATE OR REPLACE FUNCTION list_channels()
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT json_build_object(
      'items', json_agg(
        json_build_object('name', v.name, 'is_enabled', COALESCE(h.is_enabled, false), 'updated_at', h.updated_at)
        ORDER BY v.name
      )
    )
    FROM (VALUES ('email'), ('sms')) AS v (name)
    LEFT JOIN message_channels h ON h.name = v.name
  );
END
$$
