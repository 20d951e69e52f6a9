-- Promises: one slot as availability answers it: what is left, whether that many units may be booked now, and if not
-- why. Called by available_slots and add_slots. opens_at stays null until schedules bring booking windows.
CREATE OR REPLACE FUNCTION slot_json(p_slot slots, p_units integer DEFAULT 1, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_reason text := CASE
    WHEN p_slot.starts_at <= p_now THEN 'past'
    WHEN p_slot.booked_bookings >= p_slot.max_bookings THEN 'full'
    WHEN p_slot.booked_units + p_units > p_slot.max_units THEN 'full'
  END;
BEGIN
  RETURN json_build_object(
    'id', p_slot.id,
    'starts_at', p_slot.starts_at,
    'ends_at', p_slot.ends_at,
    'max_bookings', p_slot.max_bookings,
    'max_units', p_slot.max_units,
    'remaining_bookings', p_slot.max_bookings - p_slot.booked_bookings,
    'remaining_units', p_slot.max_units - p_slot.booked_units,
    'available', v_reason IS NULL,
    'reason', v_reason,
    'opens_at', NULL
  );
END
$$
