-- Promises: the one JSON shape of a place in line: how many wait before it, and the offered booking with its expiry.
-- Called by every function that answers one.
CREATE OR REPLACE FUNCTION waitlist_entry_json(p_entry waitlist_entries)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT json_build_object(
      'id', p_entry.id,
      'slot_id', p_entry.slot_id,
      'customer_ref', c.ref,
      'units', p_entry.units,
      'payment_method', p_entry.payment_method,
      'status', p_entry.status,
      'ahead', CASE p_entry.status WHEN 'waiting' THEN waitlist_ahead(p_entry.slot_id, p_entry.place_in_line) END,
      'booking_id', p_entry.booking_id,
      'expires_at', b.expires_at,
      'created_at', p_entry.created_at,
      'updated_at', p_entry.updated_at
    )
    FROM customers c
    LEFT JOIN bookings b ON b.id = p_entry.booking_id
    WHERE c.id = p_entry.customer_id
  );
END
$$
