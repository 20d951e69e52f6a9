-- Promises: one booking carried over from another system exists, with the resource, slot and customer it names.
-- 'created', or 'unchanged' when its external_id is known. Called by import_bookings. Locks: resource, slot, customer.
-- Raises: SB002 slot_full when a slot of our own has no room; slots the import made grow to hold what it brings.
CREATE OR REPLACE FUNCTION import_booking(p_row jsonb, p_now timestamptz DEFAULT now())
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_row record;
  v_slot slots;
BEGIN
  PERFORM FROM bookings b WHERE b.external_id = p_row ->> 'external_id';
  IF FOUND THEN
    RETURN 'unchanged';
  END IF;

  SELECT * INTO v_row FROM jsonb_to_record(p_row) AS r (
    external_id text, resource text, timezone text, starts_at timestamptz, ends_at timestamptz, status text,
    customer jsonb, units integer, payment_method text, payment_status text
  );
  v_slot := import_slot(import_resource(v_row.resource, v_row.timezone, p_now), v_row.starts_at, v_row.ends_at, p_now);

  IF v_row.status IN ('pending', 'confirmed', 'completed', 'no_show') THEN
    IF v_slot.source = 'import' THEN
      PERFORM set_config('holdfast.growth_is_taken', 'on', true);
      UPDATE slots s
      SET max_bookings = GREATEST(s.max_bookings, s.booked_bookings + 1), updated_at = p_now
      WHERE s.id = v_slot.id AND s.booked_bookings = s.max_bookings;
      PERFORM set_config('holdfast.growth_is_taken', '', true);
    ELSE
      PERFORM require_room(v_slot, v_row.units, 1, p_now);
    END IF;
  END IF;

  INSERT INTO bookings (
    external_id, resource_id, slot_id, starts_at, ends_at, customer_id, units, payment_method, payment_status,
    status, expires_at, created_at, placed_at, updated_at
  )
  VALUES (
    v_row.external_id, v_slot.resource_id, v_slot.id, v_slot.starts_at, v_slot.ends_at,
    upsert_customer(v_row.customer, p_now), v_row.units, v_row.payment_method, v_row.payment_status,
    v_row.status,
    CASE v_row.status WHEN 'pending' THEN hold_until(v_slot.resource_id, p_now) END,
    p_now, p_now, p_now
  );
  RETURN 'created';
END
$$
