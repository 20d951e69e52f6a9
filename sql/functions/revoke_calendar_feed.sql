-- Promises: the feed opens nothing any more, from the commit on. Answers whether there was one, for whoever asks: a customer's own,
-- of customers for a frontend, any for an admin. Called by DELETE /v1/calendar-feeds/{id}. Locks: the feed.
CREATE OR REPLACE FUNCTION revoke_calendar_feed(p_actor jsonb, p_feed_id uuid, p_now timestamptz DEFAULT now())
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_ref text := p_actor ->> 'customer_ref';
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE calendar_feeds f
  SET revoked_at = p_now
  WHERE f.id = p_feed_id
    AND f.revoked_at IS NULL
    AND (f.customer_id IS NOT NULL OR p_actor ->> 'type' = 'admin')
    AND (v_ref IS NULL OR f.customer_id = (SELECT c.id FROM customers c WHERE c.ref = v_ref));
  RETURN FOUND;
END
$$
