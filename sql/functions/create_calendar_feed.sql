-- Promises: whoever has the token with that hash may read the calendar of the resource, or of the customer, until the feed is
-- revoked; a customer who is not known yet is from now on. Called by POST /v1/resources/{id}/calendar-feeds and
-- /v1/customers/{ref}/calendar-feeds, which show the token once. Feeds of one owner are made one after the other.
-- Locks: resource or customer. Raises: SB009 resource_not_found, SB041 too_many_feeds.
CREATE OR REPLACE FUNCTION create_calendar_feed(
  p_actor jsonb,
  p_token_hash bytea,
  p_resource_id uuid DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_limit CONSTANT integer := 20;
  v_customer_id uuid;
  v_feed calendar_feeds;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF p_resource_id IS NOT NULL THEN
    PERFORM get_resource(p_resource_id);
    PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  ELSE
    v_customer_id := upsert_customer(own_customer(p_actor, jsonb_build_object('ref', p_customer_ref)), p_now);
    PERFORM FROM customers c WHERE c.id = v_customer_id FOR NO KEY UPDATE;
  END IF;
  IF v_limit <= (
    SELECT count(*) FROM calendar_feeds f
    WHERE f.revoked_at IS NULL AND (f.resource_id = p_resource_id OR f.customer_id = v_customer_id)
  ) THEN
    RAISE EXCEPTION 'too_many_feeds' USING ERRCODE = 'SB041', DETAIL = json_build_object('limit', v_limit);
  END IF;
  INSERT INTO calendar_feeds (resource_id, customer_id, token_hash, created_at)
  VALUES (p_resource_id, v_customer_id, p_token_hash, p_now)
  RETURNING * INTO v_feed;
  RETURN calendar_feed_json(v_feed);
END
$$
