-- Promises: every subject that is not as its last audit row says: `differs`, for later rows are cut off or somebody changed it
-- around its trigger; `missing`, for it has none. Not in it: jobs and deliveries, of which only what people do is on record;
-- columns that are not on record. Called by verify_audit_log.
CREATE OR REPLACE FUNCTION audit_subject_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    WITH last AS MATERIALIZED (
      SELECT a.subject_type, a.subject_id, a.id, a.new_values AS state, n.on_date
      FROM (
        SELECT max(m.id) AS id, d.on_date
        FROM audit_log m
        -- the dates of a resource are one subject
        CROSS JOIN LATERAL (
          SELECT CASE WHEN m.subject_type = 'schedule_exception' THEN COALESCE(m.new_values, m.old_values) ->> 'date' END
        ) AS d (on_date)
        GROUP BY m.subject_type, m.subject_id, d.on_date
      ) n
      JOIN audit_log a ON a.id = n.id
    ), faults AS (
      SELECT 'booking' AS subject_type, COALESCE(s.id::text, l.subject_id) AS subject_id, l.id
      FROM bookings s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'booking') l ON l.subject_id = s.id::text
      WHERE (s.id IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'customer' AS subject_type, COALESCE(s.id::text, l.subject_id) AS subject_id, l.id
      FROM customers s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'customer') l ON l.subject_id = s.id::text
      WHERE (s.id IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'resource' AS subject_type, COALESCE(s.id::text, l.subject_id) AS subject_id, l.id
      FROM resources s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'resource') l ON l.subject_id = s.id::text
      WHERE (s.id IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'schedule' AS subject_type, COALESCE(s.resource_id::text, l.subject_id) AS subject_id, l.id
      FROM schedules s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'schedule') l ON l.subject_id = s.resource_id::text
      WHERE (s.resource_id IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'waitlist_entry' AS subject_type, COALESCE(s.id::text, l.subject_id) AS subject_id, l.id
      FROM waitlist_entries s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'waitlist_entry') l ON l.subject_id = s.id::text
      WHERE (s.id IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'prebooking' AS subject_type, COALESCE(s.id::text, l.subject_id) AS subject_id, l.id
      FROM prebookings s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'prebooking') l ON l.subject_id = s.id::text
      WHERE (s.id IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'provider' AS subject_type, COALESCE(s.name, l.subject_id) AS subject_id, l.id
      FROM providers s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'provider') l ON l.subject_id = s.name
      WHERE (s.name IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'credentials' AS subject_type, COALESCE(s.id::text, l.subject_id) AS subject_id, l.id
      FROM provider_credentials s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'credentials') l ON l.subject_id = s.id::text
      WHERE (s.id IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'api_key' AS subject_type, COALESCE(s.id::text, l.subject_id) AS subject_id, l.id
      FROM api_keys s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'api_key') l ON l.subject_id = s.id::text
      WHERE (s.id IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'job_queue' AS subject_type, COALESCE(s.name, l.subject_id) AS subject_id, l.id
      FROM job_queues s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'job_queue') l ON l.subject_id = s.name
      WHERE (s.name IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'message_channel' AS subject_type, COALESCE(s.name, l.subject_id) AS subject_id, l.id
      FROM message_channels s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'message_channel') l ON l.subject_id = s.name
      WHERE (s.name IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'webhook_secret' AS subject_type, COALESCE(s.id::text, l.subject_id) AS subject_id, l.id
      FROM webhook_secrets s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'webhook_secret') l ON l.subject_id = s.id::text
      WHERE (s.id IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'schedule_exception', COALESCE(s.resource_id::text, l.subject_id), l.id
      FROM schedule_exceptions s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'schedule_exception') l
        ON l.subject_id = s.resource_id::text AND l.on_date = s.date::text
      WHERE (s.date IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state) IS DISTINCT FROM s
      UNION ALL
      SELECT 'webhook_endpoint', COALESCE(s.id::text, l.subject_id), l.id
      FROM webhook_endpoints s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'webhook_endpoint') l
        ON l.subject_id = s.id::text
      WHERE (s.id IS NULL) <> (l.state IS NULL)
        OR jsonb_populate_record(s, l.state - '{failing_since,tested_at,updated_at}'::text[]) IS DISTINCT FROM s
      UNION ALL
      SELECT 'slot', COALESCE(s.id::text, l.subject_id), l.id
      FROM slots s FULL JOIN (SELECT * FROM last x WHERE x.subject_type = 'slot') l ON l.subject_id = s.id::text
      -- one that its schedule makes is on record from the day on which somebody changes or fills it
      WHERE COALESCE(s.source, l.state ->> 'source') IS DISTINCT FROM 'schedule' AND (s.id IS NULL) <> (l.state IS NULL)
        OR s.id IS NOT NULL AND l.id IS NOT NULL
          AND jsonb_populate_record(s, l.state - '{booked_bookings,booked_units,updated_at}'::text[]) IS DISTINCT FROM s
    )
    SELECT f.subject_type, f.subject_id, f.id, CASE WHEN f.id IS NULL THEN 'missing' ELSE 'differs' END
    FROM faults f;
END
$$
