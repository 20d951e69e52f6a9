-- Promises: the bookings of a resource or of a customer that a calendar shows: from a month ago on, by start,
-- cancelled ones too, so that a calendar can take them back.
-- Called by GET /v1/resources/{id}/calendar.ics and /v1/customers/{ref}/calendar.ics, and by read_calendar_feed.
-- Raises: SB009 resource_not_found.
CREATE OR REPLACE FUNCTION calendar_bookings(
  p_resource_id uuid DEFAULT NULL, p_customer_ref text DEFAULT NULL, p_now timestamptz DEFAULT now()
)
RETURNS TABLE (
  booking_id uuid,
  reference text,
  resource_name text,
  customer text,
  status text,
  units integer,
  starts_at timestamptz,
  ends_at timestamptz,
  version integer,
  created_at timestamptz,
  updated_at timestamptz
)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
BEGIN
  PERFORM act_for(p_customer_ref);
  IF p_resource_id IS NOT NULL THEN
    PERFORM get_resource(p_resource_id);
  END IF;
  RETURN QUERY
    SELECT
      b.id, b.reference, r.name, COALESCE(c.name, c.ref, c.email, c.phone), b.status, b.units, b.starts_at, b.ends_at,
      b.version, b.created_at, b.updated_at
    FROM bookings b
    JOIN resources r ON r.id = b.resource_id
    JOIN customers c ON c.id = b.customer_id
    WHERE (p_resource_id IS NULL OR b.resource_id = p_resource_id)
      AND (p_customer_ref IS NULL OR b.customer_id = (SELECT x.id FROM customers x WHERE x.ref = p_customer_ref))
      AND b.starts_at > p_now - interval '31 days'
    ORDER BY b.starts_at, b.id;
END
$$
