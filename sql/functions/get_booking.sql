-- Promises: one booking as the API answers it; of that customer alone, where one is given.
-- Called by GET /v1/bookings/{id}. Raises: SB005 booking_not_found.
CREATE OR REPLACE FUNCTION get_booking(p_booking_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS TABLE (booking_id uuid, booking_version integer, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM act_for(p_customer_ref);
  RETURN QUERY
    SELECT b.id, b.version, booking_json(b, c.ref)
    FROM bookings b
    JOIN customers c ON c.id = b.customer_id
    WHERE b.id = p_booking_id AND (p_customer_ref IS NULL OR c.ref = p_customer_ref);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'booking_not_found' USING ERRCODE = 'SB005',
      DETAIL = json_build_object('booking_id', p_booking_id);
  END IF;
END
$$
