-- Promises: the new booking's row: confirmed, or a hold until p_expires_at where that is given.
-- Called by book_slot and offer_places, which have locked the slot and found room in it.
CREATE OR REPLACE FUNCTION place_booking(
  p_slot slots,
  p_customer_id uuid,
  p_units integer,
  p_payment_method text,
  p_metadata jsonb,
  p_expires_at timestamptz,
  p_now timestamptz DEFAULT now()
)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
BEGIN
  INSERT INTO bookings (
    resource_id, slot_id, starts_at, ends_at, customer_id, units, payment_method, metadata,
    status, expires_at, created_at, placed_at, updated_at
  )
  VALUES (
    p_slot.resource_id, p_slot.id, p_slot.starts_at, p_slot.ends_at, p_customer_id,
    p_units, p_payment_method, p_metadata,
    CASE WHEN p_expires_at IS NULL THEN 'confirmed' ELSE 'pending' END, p_expires_at, p_now, p_now, p_now
  )
  RETURNING * INTO v_booking;
  RETURN v_booking;
END
$$
