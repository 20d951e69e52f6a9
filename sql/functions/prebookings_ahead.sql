-- Promises: how many prebookings of the same opening at the same provider were made before this one and not cancelled.
-- Called by begin_prebooking.
CREATE OR REPLACE FUNCTION prebookings_ahead(p_prebooking prebookings)
RETURNS bigint
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT count(*)
    FROM prebookings p
    WHERE p.provider = p_prebooking.provider AND p.opens_at = p_prebooking.opens_at
      AND p.place_in_line < p_prebooking.place_in_line AND p.status <> 'cancelled'
  );
END
$$
