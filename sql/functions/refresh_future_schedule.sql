-- Promises: the coming slots of a resource are what its rules give, and no booking is lost: slots with bookings that no
-- longer fit become legacy, limits shrink only to what is booked, empty slots that no longer fit go.
-- Called by put_schedule, put_exception, update_resource and the daily job. Locks: schedule, slots by id, then jobs.
-- Raises: SB016 schedule_not_found.
CREATE OR REPLACE FUNCTION refresh_future_schedule(
  p_actor jsonb, p_resource_id uuid, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_schedule schedules;
  v_exceptions schedule_exceptions[];
  v_plan slot_change[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  SELECT * INTO v_schedule FROM schedules c WHERE c.resource_id = p_resource_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'schedule_not_found' USING ERRCODE = 'SB016',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;
  v_exceptions := ARRAY(SELECT e FROM schedule_exceptions e WHERE e.resource_id = p_resource_id);

  v_plan := ARRAY(SELECT p FROM schedule_plan(v_schedule, v_exceptions, p_now) p);
  PERFORM FROM slots s
  WHERE s.id IN (SELECT p.slot_id FROM unnest(v_plan) p WHERE p.action IN ('updated', 'legacy', 'removed'))
  ORDER BY s.id
  FOR UPDATE;
  IF FOUND THEN
    -- somebody may have booked one of them before we had it locked
    v_plan := ARRAY(SELECT p FROM schedule_plan(v_schedule, v_exceptions, p_now) p);
  END IF;

  PERFORM apply_schedule_plan(p_resource_id, v_plan, p_now);
  PERFORM arm_schedule_refresh(p_resource_id, p_now);
  RETURN schedule_plan_json(v_plan, false);
END
$$
