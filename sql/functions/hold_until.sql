-- Promises: when a hold taken now ends, by the resource's rule. Called by place_booking and import_booking.
CREATE OR REPLACE FUNCTION hold_until(p_resource_id uuid, p_now timestamptz DEFAULT now())
RETURNS timestamptz
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (SELECT p_now + make_interval(mins => r.hold_minutes) FROM resources r WHERE r.id = p_resource_id);
END
$$
