-- Promises: every promise of the house recounted from its rows: which are broken, by which row; none, or something is
-- badly wrong. Called by GET /v1/invariants and the tests. Reads all slots, bookings, pending jobs and offers.
CREATE OR REPLACE FUNCTION check_invariants(p_limit integer DEFAULT 100)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_report json;
BEGIN
  WITH recount AS (
    SELECT b.slot_id, count(*) AS bookings, sum(b.units) AS units
    FROM bookings b
    WHERE b.status IN ('pending', 'confirmed', 'completed', 'no_show')
    GROUP BY b.slot_id
  ), pending_jobs AS (
    SELECT j.dedupe_key, j.job_type, j.scheduled_at, j.booking_id
    FROM jobs j
    WHERE j.status = 'pending' AND j.booking_id IS NOT NULL AND j.job_type IN ('complete_booking', 'expire_booking')
  ), violations AS (
    SELECT 'slot_counters' AS invariant, s.id, json_build_object(
      'booked_bookings', s.booked_bookings, 'booked_units', s.booked_units,
      'recounted_bookings', COALESCE(r.bookings, 0), 'recounted_units', COALESCE(r.units, 0)
    ) AS facts
    FROM slots s
    LEFT JOIN recount r ON r.slot_id = s.id
    WHERE (s.booked_bookings, s.booked_units) IS DISTINCT FROM (COALESCE(r.bookings, 0), COALESCE(r.units, 0))
    UNION ALL
    SELECT 'slot_capacity', s.id, json_build_object(
      'max_bookings', s.max_bookings, 'max_units', s.max_units, 'bookings', r.bookings, 'units', r.units
    )
    FROM slots s
    JOIN recount r ON r.slot_id = s.id
    WHERE r.bookings > s.max_bookings OR r.units > s.max_units
    UNION ALL
    SELECT 'booking_job', COALESCE(b.id, j.booking_id), json_build_object(
      'status', b.status, 'job_type', j.job_type, 'scheduled_at', j.scheduled_at
    )
    FROM (SELECT x.* FROM bookings x WHERE x.status IN ('pending', 'confirmed')) b
    FULL JOIN pending_jobs j ON j.booking_id = b.id
    WHERE (j.job_type, j.scheduled_at) IS DISTINCT FROM (
      CASE b.status WHEN 'confirmed' THEN 'complete_booking' WHEN 'pending' THEN 'expire_booking' END,
      CASE b.status WHEN 'confirmed' THEN b.ends_at ELSE b.expires_at END
    )
    UNION ALL
    SELECT 'waitlist_offer', w.id, json_build_object('booking_id', w.booking_id, 'booking_status', b.status)
    FROM waitlist_entries w
    JOIN bookings b ON b.id = w.booking_id
    WHERE (w.status = 'offered') <> (b.status = 'pending')
    UNION ALL
    SELECT 'auto_sync_job', a.id, json_build_object('status', a.status, 'job_types', q.job_types)
    FROM auto_syncs a
    CROSS JOIN LATERAL (
      SELECT COALESCE(array_agg(j.job_type ORDER BY j.job_type), '{}') AS job_types
      FROM jobs j
      WHERE j.dedupe_key = a.id::text AND j.status = 'pending' AND j.job_type IN ('auto_sync_reminder', 'auto_sync_pause_check')
    ) q
    WHERE q.job_types <> array_remove(ARRAY[auto_sync_job_type(a)], NULL)
    UNION ALL
    SELECT 'schedule_job', c.resource_id, json_build_object('pending_jobs', 0)
    FROM schedules c
    WHERE NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = c.resource_id::text AND j.job_type = 'refresh_schedule' AND j.status = 'pending'
    )
  )
  SELECT json_build_object(
    'checked', json_build_object(
      'slots', (SELECT count(*) FROM slots), 'bookings', (SELECT count(*) FROM bookings),
      'jobs', (SELECT count(*) FROM pending_jobs)
    ),
    'violation_count', (SELECT count(*) FROM violations),
    'violations', COALESCE(
      (
        SELECT json_agg(json_build_object('invariant', v.invariant, 'id', v.id, 'facts', v.facts))
        FROM (SELECT * FROM violations x ORDER BY x.invariant, x.id LIMIT p_limit) v
      ),
      '[]'
    )
  ) INTO v_report;
  RETURN v_report;
END
$$
