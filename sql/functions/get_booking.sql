-- Promises: one booking as the API answers it. Called by GET /v1/bookings/{id}. Raises: SB005 booking_not_found.
CREATE OR REPLACE FUNCTION get_booking(p_booking_id uuid)
RETURNS TABLE (booking_id uuid, booking_version integer, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT b.id, b.version, booking_json(b, c.ref)
    FROM bookings b
    JOIN customers c ON c.id = b.customer_id
    WHERE b.id = p_booking_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'booking_not_found' USING ERRCODE = 'SB005',
      DETAIL = json_build_object('booking_id', p_booking_id);
  END IF;
END
$$
