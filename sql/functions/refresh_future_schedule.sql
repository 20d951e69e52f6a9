-- Promises: the coming slots of a resource are what its rules give, and no booking is lost: slots with bookings that no
-- longer fit become legacy, limits shrink only to what is booked, empty slots that no longer fit go.
-- Called by put_schedule, put_exception, update_resource and the daily job. Locks: resource, schedule, slots by id, then
-- jobs.
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
  v_to_lock uuid[] := ARRAY[]::uuid[];
  v_unlocked uuid[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  SELECT * INTO v_schedule FROM schedules c WHERE c.resource_id = p_resource_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'schedule_not_found' USING ERRCODE = 'SB016',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;
  v_exceptions := ARRAY(SELECT e FROM schedule_exceptions e WHERE e.resource_id = p_resource_id);

  LOOP
    BEGIN
      PERFORM FROM slots s WHERE s.id = ANY (v_to_lock) ORDER BY s.id FOR UPDATE;
      -- somebody may have booked or cancelled before we had them locked
      v_plan := ARRAY(SELECT p FROM schedule_plan(v_schedule, v_exceptions, p_now) p);
      v_unlocked := ARRAY(
        SELECT p.slot_id FROM unnest(v_plan) p WHERE p.action IN ('updated', 'legacy', 'removed')
        EXCEPT SELECT unnest(v_to_lock)
      );
      EXIT WHEN v_unlocked = '{}';
      -- more locks now would be out of order: give these back, and begin again
      RAISE SQLSTATE 'HF001';
    EXCEPTION
      WHEN SQLSTATE 'HF001' THEN
        v_to_lock := v_to_lock || v_unlocked;
    END;
  END LOOP;

  PERFORM apply_schedule_plan(p_resource_id, v_plan, p_now);
  PERFORM arm_schedule_refresh(p_resource_id, p_now);
  RETURN schedule_plan_json(v_plan, false);
END
$$
