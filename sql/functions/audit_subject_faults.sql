-- Promises: every subject that is not as its last audit row says: `differs`, for later rows are cut off or somebody changed it
-- around its trigger; `missing`, for it has none. Not in it: jobs, deliveries and answers to auto-syncs, of which not every row
-- is on record; columns that are not on record; subjects whose last row went with its month. Called by verify_audit_log.
CREATE OR REPLACE FUNCTION audit_subject_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_kind record;
BEGIN
  FOR v_kind IN
    SELECT *
    FROM (
      VALUES
        ('api_key', 'api_keys', 'id', '{last_used_at}'::text[]),
        ('auto_sync', 'auto_syncs', 'id', '{}'),
        ('booking', 'bookings', 'id', '{}'),
        ('calendar_feed', 'calendar_feeds', 'id', '{}'),
        ('credentials', 'provider_credentials', 'id', '{}'),
        ('crew', 'crews', 'id', '{}'),
        ('crew_member', 'crew_members', 'id', '{}'),
        ('customer', 'customers', 'id', '{}'),
        ('job_queue', 'job_queues', 'name', '{}'),
        ('message_channel', 'message_channels', 'name', '{}'),
        ('prebooking', 'prebookings', 'id', '{}'),
        ('provider', 'providers', 'name', '{}'),
        ('resource', 'resources', 'id', '{}'),
        ('schedule', 'schedules', 'resource_id', '{}'),
        ('schedule_exception', 'schedule_exceptions', 'resource_id', '{}'),
        ('slot', 'slots', 'id', '{booked_bookings,booked_units,updated_at}'),
        ('waitlist_entry', 'waitlist_entries', 'id', '{}'),
        ('webhook_endpoint', 'webhook_endpoints', 'id', '{failing_since,tested_at,updated_at}'),
        ('webhook_secret', 'webhook_secrets', 'id', '{}')
    ) k (subject, relation, key, not_on_record)
  LOOP
    FOR subject_type, subject_id, audit_id, fault IN EXECUTE format(
      $query$
        SELECT %1$L, COALESCE(s.%3$I::text, l.subject_id), l.id, CASE WHEN l.id IS NULL THEN 'missing' ELSE 'differs' END
        FROM %2$I s
        FULL JOIN last_audit_entries(%1$L) l
          ON l.subject_id = s.%3$I::text AND (l.on_date IS NULL OR l.on_date = to_jsonb(s) ->> 'date')
        WHERE CASE
          -- one that its schedule makes is on record from the day on which somebody changes or fills it
          WHEN %1$L = 'slot' AND COALESCE(to_jsonb(s) ->> 'source', l.state ->> 'source') = 'schedule'
            THEN s.%3$I IS NOT NULL AND l.id IS NOT NULL AND jsonb_populate_record(s, l.state - $1) IS DISTINCT FROM s
          ELSE (s.%3$I IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state - $1) IS DISTINCT FROM s
        END
        AND NOT EXISTS (
          SELECT FROM audit_dropped d
          WHERE d.subject_type = %1$L AND d.subject_id = COALESCE(s.%3$I::text, l.subject_id) AND d.number <= $2
            AND d.last_position > COALESCE(l.last_position, 0)
        )
      $query$,
      v_kind.subject, v_kind.relation, v_kind.key
    ) USING v_kind.not_on_record, (last_audit_drop() ->> 'number')::integer
    LOOP
      RETURN NEXT;
    END LOOP;
  END LOOP;
END
$$
