-- Promises: the slot of a resource with exactly these times, made if there was none, locked until the transaction ends.
-- Called by import_booking. Locks: slot.
CREATE OR REPLACE FUNCTION import_slot(
  p_resource_id uuid, p_starts_at timestamptz, p_ends_at timestamptz, p_now timestamptz DEFAULT now()
)
RETURNS slots
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot slots;
BEGIN
  INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings, source, created_at, updated_at)
  VALUES (p_resource_id, p_starts_at, p_ends_at, 1, 'import', p_now, p_now)
  ON CONFLICT (resource_id, starts_at, ends_at) DO NOTHING;

  SELECT * INTO v_slot
  FROM slots s
  WHERE s.resource_id = p_resource_id AND s.starts_at = p_starts_at AND s.ends_at = p_ends_at
  FOR NO KEY UPDATE;
  RETURN v_slot;
END
$$
