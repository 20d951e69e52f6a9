-- Promises: the one JSON shape of a prebooking, with what was tried and what was answered, or with as much of that as
-- there was at p_at. Called by every function that answers one, and for its events.
CREATE OR REPLACE FUNCTION prebooking_json(p_prebooking prebookings, p_at timestamptz DEFAULT 'infinity')
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_prebooking.id,
    'resource_id', p_prebooking.resource_id,
    'provider', p_prebooking.provider,
    'target', p_prebooking.target,
    'preferences', p_prebooking.targets - 0,
    'customer_ref', (SELECT c.ref FROM customers c WHERE c.id = p_prebooking.customer_id),
    'units', p_prebooking.units,
    'payment_method', p_prebooking.payment_method,
    'join_waitlist', p_prebooking.join_waitlist,
    'opens_at', p_prebooking.opens_at,
    'status', p_prebooking.status,
    'booked_target', p_prebooking.targets -> p_prebooking.booked_choice - 1,
    'booking_id', p_prebooking.booking_id,
    'confirmation', p_prebooking.confirmation,
    'waitlist_entry_id', p_prebooking.waitlist_entry_id,
    'reason', p_prebooking.reason,
    'detail', p_prebooking.detail,
    'needs_attention', p_prebooking.needs_attention,
    'fired_at', p_prebooking.fired_at,
    'lateness_ms', p_prebooking.lateness_ms,
    'lottery_seed', (
      SELECT d.seed
      FROM lottery_draws d
      WHERE d.resource_id = p_prebooking.resource_id AND d.opens_at = p_prebooking.opens_at
        AND p_prebooking.created_at < d.opens_at AND d.drawn_at <= p_at
    ),
    'attempts', COALESCE(
      (
        SELECT json_agg(
          json_build_object(
            'target', p_prebooking.targets -> a.choice - 1, 'finding', a.finding, 'detail', a.detail,
            'confirmation', a.confirmation, 'started_at', a.started_at, 'fired_at', a.fired_at, 'ended_at', a.ended_at
          )
          ORDER BY a.id
        )
        FROM prebooking_attempts a
        WHERE a.prebooking_id = p_prebooking.id AND a.started_at <= p_at
      ),
      '[]'
    ),
    'version', p_prebooking.version,
    'created_at', p_prebooking.created_at,
    'updated_at', p_prebooking.updated_at
  );
END
$$
