-- Promises: the one JSON shape of a calendar feed, without its hash. Called by the functions that answer feeds.
CREATE OR REPLACE FUNCTION calendar_feed_json(p_feed calendar_feeds)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object('id', p_feed.id, 'created_at', p_feed.created_at);
END
$$
