-- Promises: the slots of a resource are as the plan says. Called by refresh_future_schedule, which has locked them.
CREATE OR REPLACE FUNCTION apply_schedule_plan(
  p_resource_id uuid, p_plan slot_change[], p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  DELETE FROM slots s USING unnest(p_plan) p WHERE s.id = p.slot_id AND p.action = 'removed';

  UPDATE slots s
  SET is_legacy = true, updated_at = p_now
  FROM unnest(p_plan) p
  WHERE s.id = p.slot_id AND p.action = 'legacy';

  UPDATE slots s
  SET max_bookings = p.max_bookings,
      max_units = p.max_units,
      is_legacy = false,
      source = 'schedule',
      updated_at = p_now
  FROM unnest(p_plan) p
  WHERE s.id = p.slot_id AND p.action = 'updated';

  INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings, max_units, source, created_at, updated_at)
  SELECT p_resource_id, p.starts_at, p.ends_at, p.max_bookings, p.max_units, 'schedule', p_now, p_now
  FROM unnest(p_plan) p
  WHERE p.action = 'created'
  ORDER BY p.starts_at
  ON CONFLICT (resource_id, starts_at, ends_at) DO NOTHING;
END
$$
