-- Promises: slots as availability answers them: what is left, whether that many units may be booked now, and if not why.
-- A hold whose time is over counts as free, swept or not, unless somebody in the slot's line has the first claim.
-- Called by available_slots (by resource and range, legacy ones hidden), given_slots and add_slots (by id).
CREATE OR REPLACE FUNCTION slot_offers(
  p_resource_ids uuid[],
  p_from timestamptz,
  p_to timestamptz,
  p_slot_ids uuid[],
  p_units integer DEFAULT 1,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (
  id uuid,
  resource_id uuid,
  starts_at timestamptz,
  ends_at timestamptz,
  max_bookings integer,
  max_units integer,
  remaining_bookings integer,
  remaining_units integer,
  available boolean,
  reason text,
  opens_at timestamptz
)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    -- materialized, so that no expression is worked out more than once a slot
    WITH asked AS MATERIALIZED (
      SELECT s.*
      FROM slots s
      WHERE (
        s.resource_id = ANY (p_resource_ids) AND s.starts_at >= p_from AND s.starts_at < p_to AND NOT s.is_legacy
      ) OR s.id = ANY (p_slot_ids)
    ), lapsed AS (
      SELECT b.slot_id, count(*)::integer AS bookings, sum(b.units)::integer AS units
      FROM bookings b
      WHERE b.resource_id IN (SELECT DISTINCT a.resource_id FROM asked a) AND b.expires_at <= p_now
        AND NOT EXISTS (SELECT FROM waitlist_entries e WHERE e.slot_id = b.slot_id AND e.status = 'waiting')
      GROUP BY b.slot_id
    ), counted AS MATERIALIZED (
      SELECT
        a.id, a.resource_id, a.starts_at, a.ends_at, a.max_bookings, a.max_units, a.is_legacy, c.min_notice_minutes,
        a.max_bookings - a.booked_bookings + COALESCE(l.bookings, 0) AS bookings_left,
        a.max_units - a.booked_units + COALESCE(l.units, 0) AS units_left,
        slot_opens_at(a.starts_at, r.timezone, c.booking_window_days, c.opens_at_local) AS opens_at
      FROM asked a
      JOIN resources r ON r.id = a.resource_id
      LEFT JOIN schedules c ON c.resource_id = a.resource_id
      LEFT JOIN lapsed l ON l.slot_id = a.id
    ), judged AS MATERIALIZED (
      SELECT
        n.*,
        COALESCE(
          slot_reason(n.is_legacy, n.starts_at, n.min_notice_minutes, n.opens_at, p_now),
          CASE WHEN n.bookings_left <= 0 OR n.units_left < p_units THEN 'full' END
        ) AS reason
      FROM counted n
    )
    SELECT
      j.id, j.resource_id, j.starts_at, j.ends_at, j.max_bookings, j.max_units, j.bookings_left, j.units_left,
      j.reason IS NULL, j.reason, j.opens_at
    FROM judged j
    ORDER BY j.starts_at, j.ends_at, j.id;
END
$$
