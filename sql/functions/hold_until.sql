-- Promises: when a hold taken now ends: by the resource's rule, a quarter of an hour without one.
-- Called by create_booking_safe, its likes for several slots, and import_booking.
CREATE OR REPLACE FUNCTION hold_until(p_resource_id uuid, p_now timestamptz DEFAULT now())
RETURNS timestamptz
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN p_now + make_interval(
    mins => COALESCE((SELECT c.hold_minutes FROM schedules c WHERE c.resource_id = p_resource_id), 15)
  );
END
$$
