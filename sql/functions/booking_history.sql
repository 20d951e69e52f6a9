-- Promises: the audit trail of one booking, oldest first; with p_as_of, up to that moment, and the booking as it was then, or
-- null where there was none yet. Called by GET /v1/bookings/{id}/history.
-- Raises: SB005 booking_not_found.
CREATE OR REPLACE FUNCTION booking_history(p_booking_id uuid, p_as_of timestamptz DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
BEGIN
  PERFORM get_booking(p_booking_id);
  IF p_as_of IS NOT NULL THEN
    SELECT (jsonb_populate_record(NULL::bookings, a.new_values)).* INTO v_booking
    FROM audit_log a
    WHERE a.subject_type = 'booking' AND a.subject_id = p_booking_id::text AND a.created_at <= p_as_of
    ORDER BY a.id DESC
    LIMIT 1;
  END IF;
  RETURN json_build_object(
    'booking', CASE
      WHEN v_booking.id IS NOT NULL
        THEN booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id))
    END,
    'items', COALESCE((
      SELECT json_agg(to_json(e) ORDER BY e.id)
      FROM (
        SELECT a.id, a.subject_type, a.subject_id, a.event, a.action_type, a.old_values, a.new_values, a.hidden_changes,
          a.performed_by, a.performed_by_id, a.ip_address, a.user_agent, a.reason, a.request_id, a.created_at
        FROM audit_log a
        WHERE a.subject_type = 'booking' AND a.subject_id = p_booking_id::text
          AND (p_as_of IS NULL OR a.created_at <= p_as_of)
      ) AS e
    ), '[]')
  );
END
$$
