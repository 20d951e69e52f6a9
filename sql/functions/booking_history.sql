-- Promises: the audit trail of one booking, oldest first. Called by GET /v1/bookings/{id}/history.
-- Raises: SB005 booking_not_found.
CREATE OR REPLACE FUNCTION booking_history(p_booking_id uuid)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM get_booking(p_booking_id);
  RETURN json_build_object('items', (
    SELECT json_agg(to_json(e) ORDER BY e.id)
    FROM (
      SELECT a.id, a.subject_type, a.subject_id, a.event, a.action_type, a.old_values, a.new_values, a.hidden_changes,
        a.performed_by, a.performed_by_id, a.ip_address, a.user_agent, a.reason, a.request_id, a.created_at
      FROM audit_log a
      WHERE a.subject_type = 'booking' AND a.subject_id = p_booking_id::text
    ) AS e
  ));
END
$$
