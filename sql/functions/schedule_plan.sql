-- Promises: what these rules ask of each coming slot of a resource: created, kept, updated, legacy, removed; or blocked,
-- where bookings on slots that no longer fit still need the time. Changes nothing; slots by hand are left alone.
-- Called by refresh_future_schedule, put_schedule and put_exception, which lock what they then change.
CREATE OR REPLACE FUNCTION schedule_plan(
  p_schedule schedules, p_exceptions schedule_exceptions[], p_now timestamptz DEFAULT now()
)
RETURNS SETOF slot_change
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    WITH wanted AS MATERIALIZED (
      SELECT w.starts_at, w.ends_at FROM schedule_slots(p_schedule, p_exceptions, p_now) w
    ), existing AS MATERIALIZED (
      SELECT s.*
      FROM slots s
      -- what has begun still needs its time; nothing that a schedule makes lasts longer than a day
      WHERE s.resource_id = p_schedule.resource_id AND s.starts_at > p_now - interval '24 hours' AND s.ends_at > p_now
    ), outgoing AS (
      SELECT e.starts_at, e.ends_at, e.booked_bookings, e.booked_units, hour
      FROM existing e
      CROSS JOIN LATERAL generate_series(
        floor(extract(epoch FROM e.starts_at) / 3600)::integer - 24, ceil(extract(epoch FROM e.ends_at) / 3600)::integer
      ) hour
      WHERE e.source <> 'manual' AND e.booked_bookings > 0
        AND NOT EXISTS (SELECT FROM wanted w WHERE w.starts_at = e.starts_at AND w.ends_at = e.ends_at)
    ), room AS (
      SELECT
        w.starts_at,
        w.ends_at,
        p_schedule.max_bookings - COALESCE(sum(o.booked_bookings), 0)::integer AS bookings,
        p_schedule.max_units - COALESCE(sum(o.booked_units), 0)::integer AS units
      FROM wanted w
      -- the hour makes it a join by equality, the overlap makes it right
      LEFT JOIN outgoing o ON o.hour = floor(extract(epoch FROM w.starts_at) / 3600)::integer
        AND o.starts_at < w.ends_at AND o.ends_at > w.starts_at
      GROUP BY w.starts_at, w.ends_at
    ), target AS (
      SELECT
        e.id AS slot_id,
        e.source,
        e.is_legacy,
        COALESCE(e.starts_at, r.starts_at) AS starts_at,
        COALESCE(e.ends_at, r.ends_at) AS ends_at,
        r.starts_at IS NOT NULL AS is_wanted,
        e.max_bookings AS old_bookings,
        e.max_units AS old_units,
        GREATEST(r.bookings, e.booked_bookings) AS bookings,
        CASE WHEN p_schedule.max_units IS NOT NULL THEN GREATEST(r.units, e.booked_units) END AS units
      FROM room r
      FULL JOIN (SELECT * FROM existing x WHERE x.starts_at > p_now) e
        ON e.starts_at = r.starts_at AND e.ends_at = r.ends_at
      WHERE e.source IS DISTINCT FROM 'manual' OR r.starts_at IS NOT NULL
    ), fitting AS (
      SELECT t.*, t.is_wanted AND t.bookings > 0 AND COALESCE(t.units > 0, true) AS fits FROM target t
    )
    SELECT
      CASE
        WHEN f.source = 'manual' THEN 'kept'
        WHEN f.slot_id IS NULL THEN CASE WHEN f.fits THEN 'created' ELSE 'blocked' END
        WHEN f.fits AND (f.old_bookings, f.old_units, f.is_legacy, f.source)
          IS NOT DISTINCT FROM (f.bookings, f.units, false, 'schedule') THEN 'kept'
        WHEN f.fits THEN 'updated'
        WHEN NOT slot_is_in_use(f.slot_id) THEN 'removed'
        WHEN NOT f.is_legacy THEN 'legacy'
      END,
      f.slot_id, f.starts_at, f.ends_at, f.bookings, f.units
    FROM fitting f;
END
$$
