-- Promises: the one JSON shape of a booking, as the API answers it and as idempotent replays repeat it.
-- Called by every function that answers a booking. Holds no personal data beyond the caller's own customer ref.
CREATE OR REPLACE FUNCTION booking_json(p_booking bookings, p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_booking.id,
    'reference', p_booking.reference,
    'resource_id', p_booking.resource_id,
    'slot_id', p_booking.slot_id,
    'customer_ref', p_customer_ref,
    'status', p_booking.status,
    'units', p_booking.units,
    'payment_method', p_booking.payment_method,
    'payment_status', p_booking.payment_status,
    'starts_at', p_booking.starts_at,
    'ends_at', p_booking.ends_at,
    'expires_at', p_booking.expires_at,
    'external_id', p_booking.external_id,
    'version', p_booking.version,
    'metadata', p_booking.metadata,
    'created_at', p_booking.created_at,
    'updated_at', p_booking.updated_at
  );
END
$$
