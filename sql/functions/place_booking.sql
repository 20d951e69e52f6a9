-- Promises: the new booking's row: confirmed, or a hold with its expiry where it is to be paid now.
-- Called by create_booking_safe, which has locked the slot and found room in it.
CREATE OR REPLACE FUNCTION place_booking(
  p_slot slots,
  p_customer_id uuid,
  p_units integer,
  p_payment_method text,
  p_metadata jsonb,
  p_now timestamptz DEFAULT now()
)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_is_hold boolean := p_payment_method = 'pay_now';
  v_booking bookings;
BEGIN
  INSERT INTO bookings (
    resource_id, slot_id, starts_at, ends_at, customer_id, units, payment_method, metadata,
    status, expires_at, created_at, placed_at, updated_at
  )
  VALUES (
    p_slot.resource_id, p_slot.id, p_slot.starts_at, p_slot.ends_at, p_customer_id,
    p_units, p_payment_method, p_metadata,
    CASE WHEN v_is_hold THEN 'pending' ELSE 'confirmed' END,
    CASE WHEN v_is_hold THEN hold_until(p_slot.resource_id, p_now) END,
    p_now, p_now, p_now
  )
  RETURNING * INTO v_booking;
  RETURN v_booking;
END
$$
