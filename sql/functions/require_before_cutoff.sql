-- Promises: returns only if the booking may still be given back or moved: before its start, by as much as the resource's
-- cut-off asks. A hold may always be given back. Called by cancel_booking and reschedule_booking.
-- Raises: SB015 too_late, but not for an admin who gives a reason.
CREATE OR REPLACE FUNCTION require_before_cutoff(p_actor jsonb, p_booking bookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_until timestamptz := p_booking.starts_at - make_interval(
    mins => COALESCE(
      (SELECT c.cancel_cutoff_minutes FROM schedules c WHERE c.resource_id = p_booking.resource_id), 0
    )
  );
BEGIN
  IF p_booking.status <> 'pending' AND p_now > v_until AND NOT may_override(p_actor) THEN
    RAISE EXCEPTION 'too_late' USING ERRCODE = 'SB015',
      DETAIL = json_build_object(
        'rule', 'cancel_cutoff_minutes', 'booking_id', p_booking.id, 'starts_at', p_booking.starts_at, 'until', v_until
      );
  END IF;
END
$$
