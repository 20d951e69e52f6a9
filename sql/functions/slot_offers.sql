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
    SELECT
      o.id, o.resource_id, o.starts_at, o.ends_at, o.max_bookings, o.max_units, o.bookings_left, o.units_left,
      o.reason IS NULL AND NOT o.is_full,
      CASE WHEN o.reason IS NULL AND o.is_full THEN 'full' ELSE o.reason END,
      o.opens_at
    FROM (
      SELECT
        s.*,
        left_over.*,
        w.opens_at,
        slot_reason(s.is_legacy, s.starts_at, c.min_notice_minutes, w.opens_at, p_now) AS reason,
        left_over.bookings_left <= 0 OR COALESCE(left_over.units_left < p_units, false) AS is_full
      FROM slots s
      JOIN resources r ON r.id = s.resource_id
      LEFT JOIN schedules c ON c.resource_id = s.resource_id
      CROSS JOIN LATERAL (
        SELECT slot_opens_at(s.starts_at, r.timezone, c.booking_window_days, c.opens_at_local) AS opens_at
      ) w
      LEFT JOIN LATERAL (
        SELECT count(*)::integer AS bookings, sum(b.units)::integer AS units
        FROM bookings b
        WHERE s.booked_bookings > 0 AND b.slot_id = s.id AND b.expires_at <= p_now
          AND NOT EXISTS (SELECT FROM waitlist_entries e WHERE e.slot_id = s.id AND e.status = 'waiting')
      ) lapsed ON true
      CROSS JOIN LATERAL (
        SELECT
          s.max_bookings - s.booked_bookings + lapsed.bookings AS bookings_left,
          s.max_units - s.booked_units + COALESCE(lapsed.units, 0) AS units_left
      ) left_over
      WHERE (
        s.resource_id = ANY (p_resource_ids) AND s.starts_at >= p_from AND s.starts_at < p_to AND NOT s.is_legacy
      ) OR s.id = ANY (p_slot_ids)
    ) o
    ORDER BY o.starts_at, o.ends_at, o.id;
END
$$
