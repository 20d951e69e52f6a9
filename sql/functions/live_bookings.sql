-- Promises: how many bookings of the customer at that resource count towards its limit: confirmed or held, and not over.
-- Called by require_customer_limit and offer_places. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION live_bookings(p_resource_id uuid, p_customer_id uuid, p_now timestamptz)
RETURNS bigint
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN (
  SELECT count(*)
  FROM bookings b
  WHERE b.customer_id = p_customer_id AND b.resource_id = p_resource_id AND b.ends_at > p_now
    AND (b.status = 'confirmed' OR b.expires_at > p_now)
)
