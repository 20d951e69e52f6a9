-- Promises: that date has these hours and no others (none: closed); p_hours NULL puts the weekly hours back. The coming
-- slots follow, if the resource has a schedule; or, as a dry run, the same answer and nothing changed.
-- Called by PUT and DELETE /v1/resources/{id}/exceptions/{date}. Locks: resource, schedule, then what refresh_future_schedule locks.
-- Raises: SB009 resource_not_found, SB016 schedule_not_found, SB017 invalid_hours.
CREATE OR REPLACE FUNCTION put_exception(
  p_actor jsonb,
  p_resource_id uuid,
  p_date date,
  p_hours jsonb DEFAULT NULL,
  p_dry_run boolean DEFAULT false,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_schedule schedules;
  v_new schedule_exceptions;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_resource(p_resource_id);
  IF p_dry_run THEN
    PERFORM require_hours(p_hours, false), get_schedule(p_resource_id, p_now);
    SELECT * INTO v_schedule FROM schedules c WHERE c.resource_id = p_resource_id;
    v_new := ROW(p_resource_id, p_date, p_hours, p_now, p_now);
    RETURN schedule_plan_json(
      ARRAY(
        SELECT p
        FROM schedule_plan(
          v_schedule,
          ARRAY(SELECT e FROM schedule_exceptions e WHERE e.resource_id = p_resource_id AND e.date <> p_date)
            || CASE WHEN p_hours IS NOT NULL THEN ARRAY[v_new] END,
          p_now
        ) p
      ),
      true
    );
  END IF;

  -- first, as everywhere: the exception belongs to the rules that the schedule stands for
  PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  PERFORM FROM schedules c WHERE c.resource_id = p_resource_id FOR NO KEY UPDATE;
  IF p_hours IS NULL THEN
    DELETE FROM schedule_exceptions e WHERE e.resource_id = p_resource_id AND e.date = p_date;
  ELSE
    INSERT INTO schedule_exceptions AS e (resource_id, date, hours, created_at, updated_at)
    VALUES (p_resource_id, p_date, p_hours, p_now, p_now)
    ON CONFLICT (resource_id, date) DO UPDATE SET hours = EXCLUDED.hours, updated_at = EXCLUDED.updated_at
      WHERE e.hours <> EXCLUDED.hours;
  END IF;
  RETURN refresh_future_schedule(p_actor, p_resource_id, p_now);
END
$$
