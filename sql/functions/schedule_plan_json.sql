-- Promises: a plan as the API answers it: how many slots of each kind, and the bookings whose slot becomes legacy.
-- Called by refresh_future_schedule, put_schedule and put_exception.
CREATE OR REPLACE FUNCTION schedule_plan_json(p_plan slot_change[], p_dry_run boolean)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT json_build_object(
      'dry_run', p_dry_run,
      'created', count(*) FILTER (WHERE p.action = 'created'),
      'kept', count(*) FILTER (WHERE p.action = 'kept'),
      'updated', count(*) FILTER (WHERE p.action = 'updated'),
      'legacy', count(*) FILTER (WHERE p.action = 'legacy'),
      'removed', count(*) FILTER (WHERE p.action = 'removed'),
      'blocked', count(*) FILTER (WHERE p.action = 'blocked'),
      'affected_bookings', COALESCE(
        (
          SELECT json_agg(
            json_build_object(
              'id', b.id, 'reference', b.reference, 'slot_id', b.slot_id, 'customer_ref', c.ref,
              'status', b.status, 'units', b.units, 'starts_at', b.starts_at, 'ends_at', b.ends_at
            )
            ORDER BY b.starts_at, b.id
          )
          FROM unnest(p_plan) l
          JOIN bookings b ON b.slot_id = l.slot_id
          JOIN customers c ON c.id = b.customer_id
          WHERE l.action = 'legacy' AND b.status IN ('pending', 'confirmed')
        ),
        '[]'
      )
    )
    FROM unnest(p_plan) p
  );
END
$$
