-- Promises: the resource has exactly these rules, and its coming slots follow; or, as a dry run, the same answer and
-- nothing changed. The same rules again change nothing. Called by PUT /v1/resources/{id}/schedule.
-- Locks: resource, schedule, then what refresh_future_schedule locks, and jobs that remind. Raises: SB009 resource_not_found, SB017 invalid_hours.
CREATE OR REPLACE FUNCTION put_schedule(
  p_actor jsonb, p_resource_id uuid, p_rules jsonb, p_dry_run boolean DEFAULT false, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_not_rules CONSTANT text[] := ARRAY['version', 'created_at', 'updated_at'];
  v_old schedules;
  v_new schedules;
  v_plan json;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_resource(p_resource_id);
  v_new := jsonb_populate_record(
    NULL::schedules,
    '{"opening_policy": "fifo", "reminder_minutes": []}' || p_rules || jsonb_build_object('resource_id', p_resource_id)
  );
  IF p_dry_run THEN
    PERFORM require_hours(v_new.weekly, true);
    RETURN schedule_plan_json(
      ARRAY(
        SELECT p
        FROM schedule_plan(
          v_new, ARRAY(SELECT e FROM schedule_exceptions e WHERE e.resource_id = p_resource_id), p_now
        ) p
      ),
      true
    );
  END IF;

  -- a resource has no schedule to lock before its first
  PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  SELECT * INTO v_old FROM schedules c WHERE c.resource_id = p_resource_id FOR NO KEY UPDATE;
  v_new.version := COALESCE(v_old.version, 0) + 1;
  v_new.created_at := COALESCE(v_old.created_at, p_now);
  v_new.updated_at := p_now;
  IF v_old IS NULL THEN
    INSERT INTO schedules SELECT v_new.*;
  ELSIF to_jsonb(v_old) - c_not_rules <> to_jsonb(v_new) - c_not_rules THEN
    UPDATE schedules c
    SET (weekly, slot_minutes, max_bookings, max_units, horizon_days, min_notice_minutes, booking_window_days,
         opens_at_local, cancel_cutoff_minutes, hold_minutes, offer_minutes, max_bookings_per_customer, opening_policy,
         reminder_minutes, version, updated_at)
      = (v_new.weekly, v_new.slot_minutes, v_new.max_bookings, v_new.max_units, v_new.horizon_days,
         v_new.min_notice_minutes, v_new.booking_window_days, v_new.opens_at_local, v_new.cancel_cutoff_minutes,
         v_new.hold_minutes, v_new.offer_minutes, v_new.max_bookings_per_customer, v_new.opening_policy,
         v_new.reminder_minutes, v_new.version, v_new.updated_at)
    WHERE c.resource_id = p_resource_id;
  END IF;
  v_plan := refresh_future_schedule(p_actor, p_resource_id, p_now);
  IF v_old.reminder_minutes IS DISTINCT FROM v_new.reminder_minutes THEN
    -- jobs are locked last
    PERFORM arm_reminder(b, p_now)
    FROM bookings b
    WHERE b.resource_id = p_resource_id AND b.status = 'confirmed' AND b.starts_at > p_now
    ORDER BY b.id;
  END IF;
  RETURN v_plan;
END
$$
