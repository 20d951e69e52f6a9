-- Promises: returns only if newcomers may still take this slot at that time.
-- Called by create_booking_safe. Raises: SB003 slot_closed, SB004 slot_in_past.
CREATE OR REPLACE FUNCTION require_open_slot(p_slot slots, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_slot.is_legacy THEN
    RAISE EXCEPTION 'slot_closed' USING ERRCODE = 'SB003', DETAIL = json_build_object('slot_id', p_slot.id);
  END IF;
  IF p_slot.starts_at <= p_now THEN
    RAISE EXCEPTION 'slot_in_past' USING ERRCODE = 'SB004',
      DETAIL = json_build_object('slot_id', p_slot.id, 'starts_at', p_slot.starts_at);
  END IF;
END
$$
