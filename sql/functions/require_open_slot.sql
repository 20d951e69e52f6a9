-- Promises: returns only if newcomers may take this slot at that time: what availability lists with none of these
-- reasons. Called by every function that takes a place. Raises: SB003 slot_closed, SB004 slot_in_past, SB011 not_open_yet,
-- SB015 too_late (the notice has run out); the last two not for an admin who gives a reason.
CREATE OR REPLACE FUNCTION require_open_slot(p_actor jsonb, p_slot slots, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_notice integer;
  v_opens_at timestamptz;
  v_reason text;
BEGIN
  SELECT c.min_notice_minutes, slot_opens_at(p_slot.starts_at, r.timezone, c.booking_window_days, c.opens_at_local)
  INTO v_notice, v_opens_at
  FROM schedules c
  JOIN resources r ON r.id = c.resource_id
  WHERE c.resource_id = p_slot.resource_id;
  v_reason := slot_reason(p_slot.is_legacy, p_slot.starts_at, v_notice, v_opens_at, p_now);

  CASE v_reason
    WHEN 'closed' THEN
      RAISE EXCEPTION 'slot_closed' USING ERRCODE = 'SB003', DETAIL = json_build_object('slot_id', p_slot.id);
    WHEN 'past' THEN
      RAISE EXCEPTION 'slot_in_past' USING ERRCODE = 'SB004',
        DETAIL = json_build_object('slot_id', p_slot.id, 'starts_at', p_slot.starts_at);
    WHEN 'notice' THEN
      IF NOT may_override(p_actor) THEN
        RAISE EXCEPTION 'too_late' USING ERRCODE = 'SB015',
          DETAIL = json_build_object(
            'rule', 'min_notice_minutes', 'slot_id', p_slot.id, 'starts_at', p_slot.starts_at,
            'until', p_slot.starts_at - make_interval(mins => v_notice)
          );
      END IF;
    WHEN 'not_open' THEN
      IF NOT may_override(p_actor) THEN
        RAISE EXCEPTION 'not_open_yet' USING ERRCODE = 'SB011',
          DETAIL = json_build_object('slot_id', p_slot.id, 'opens_at', v_opens_at);
      END IF;
    ELSE
  END CASE;
END
$$
