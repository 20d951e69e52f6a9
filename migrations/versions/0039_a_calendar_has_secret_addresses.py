"""A calendar has secret addresses.

Revision ID: 0039
Revises: 0038
"""

from alembic import op

from migrations import frozen
from migrations.frozen import Change

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

TABLE = """
    CREATE TABLE calendar_feeds (
      id uuid CONSTRAINT calendar_feeds_pkey PRIMARY KEY DEFAULT time_ordered_uuid(),
      resource_id uuid CONSTRAINT calendar_feeds_resource_id_fkey REFERENCES resources,
      customer_id uuid CONSTRAINT calendar_feeds_customer_id_fkey REFERENCES customers,
      token_hash bytea NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      revoked_at timestamptz,
      CONSTRAINT calendar_feeds_token_hash_key UNIQUE (token_hash),
      CONSTRAINT calendar_feeds_owner_check CHECK (num_nonnulls(resource_id, customer_id) = 1),
      CONSTRAINT calendar_feeds_token_hash_check CHECK (octet_length(token_hash) = 32)
    )
"""
INDEXES = {
    "calendar_feeds_resource_id_idx": "calendar_feeds (resource_id) WHERE resource_id IS NOT NULL",
    "calendar_feeds_customer_id_idx": "calendar_feeds (customer_id) WHERE customer_id IS NOT NULL",
}

CHANGES = [
    Change(
        "functions/audit_subject_faults",
        r"""-- Promises: every subject that is not as its last audit row says: `differs`, for later rows are cut off or somebody changed it
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
$$""",
        r"""-- Promises: every subject that is not as its last audit row says: `differs`, for later rows are cut off or somebody changed it
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
$$""",
    ),
    Change(
        "functions/calendar_bookings",
        r"""-- Promises: the bookings of a resource or of a customer that a calendar shows: from a month ago on, by start,
-- cancelled ones too, so that a calendar can take them back.
-- Called by GET /v1/resources/{id}/calendar.ics and /v1/customers/{ref}/calendar.ics.
-- Raises: SB009 resource_not_found.
CREATE OR REPLACE FUNCTION calendar_bookings(
  p_resource_id uuid DEFAULT NULL, p_customer_ref text DEFAULT NULL, p_now timestamptz DEFAULT now()
)
RETURNS TABLE (
  booking_id uuid,
  reference text,
  resource_name text,
  customer text,
  status text,
  units integer,
  starts_at timestamptz,
  ends_at timestamptz,
  version integer,
  created_at timestamptz,
  updated_at timestamptz
)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
BEGIN
  PERFORM act_for(p_customer_ref);
  IF p_resource_id IS NOT NULL THEN
    PERFORM get_resource(p_resource_id);
  END IF;
  RETURN QUERY
    SELECT
      b.id, b.reference, r.name, COALESCE(c.name, c.ref, c.email, c.phone), b.status, b.units, b.starts_at, b.ends_at,
      b.version, b.created_at, b.updated_at
    FROM bookings b
    JOIN resources r ON r.id = b.resource_id
    JOIN customers c ON c.id = b.customer_id
    WHERE (p_resource_id IS NULL OR b.resource_id = p_resource_id)
      AND (p_customer_ref IS NULL OR b.customer_id = (SELECT x.id FROM customers x WHERE x.ref = p_customer_ref))
      AND b.starts_at > p_now - interval '31 days'
    ORDER BY b.starts_at, b.id;
END
$$""",
        r"""-- Promises: the bookings of a resource or of a customer that a calendar shows: from a month ago on, by start,
-- cancelled ones too, so that a calendar can take them back.
-- Called by GET /v1/resources/{id}/calendar.ics and /v1/customers/{ref}/calendar.ics, and by read_calendar_feed.
-- Raises: SB009 resource_not_found.
CREATE OR REPLACE FUNCTION calendar_bookings(
  p_resource_id uuid DEFAULT NULL, p_customer_ref text DEFAULT NULL, p_now timestamptz DEFAULT now()
)
RETURNS TABLE (
  booking_id uuid,
  reference text,
  resource_name text,
  customer text,
  status text,
  units integer,
  starts_at timestamptz,
  ends_at timestamptz,
  version integer,
  created_at timestamptz,
  updated_at timestamptz
)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
BEGIN
  PERFORM act_for(p_customer_ref);
  IF p_resource_id IS NOT NULL THEN
    PERFORM get_resource(p_resource_id);
  END IF;
  RETURN QUERY
    SELECT
      b.id, b.reference, r.name, COALESCE(c.name, c.ref, c.email, c.phone), b.status, b.units, b.starts_at, b.ends_at,
      b.version, b.created_at, b.updated_at
    FROM bookings b
    JOIN resources r ON r.id = b.resource_id
    JOIN customers c ON c.id = b.customer_id
    WHERE (p_resource_id IS NULL OR b.resource_id = p_resource_id)
      AND (p_customer_ref IS NULL OR b.customer_id = (SELECT x.id FROM customers x WHERE x.ref = p_customer_ref))
      AND b.starts_at > p_now - interval '31 days'
    ORDER BY b.starts_at, b.id;
END
$$""",
    ),
    Change(
        "functions/calendar_feed_json",
        None,
        r"""-- Promises: the one JSON shape of a calendar feed, without its hash. Called by the functions that answer feeds.
CREATE OR REPLACE FUNCTION calendar_feed_json(p_feed calendar_feeds)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object('id', p_feed.id, 'created_at', p_feed.created_at);
END
$$""",
    ),
    Change(
        "functions/create_calendar_feed",
        None,
        r"""-- Promises: whoever has the token with that hash may read the calendar of the resource, or of the customer, until the feed is
-- revoked; a customer who is not known yet is from now on. Called by POST /v1/resources/{id}/calendar-feeds and
-- /v1/customers/{ref}/calendar-feeds, which show the token once. Feeds of one owner are made one after the other.
-- Locks: resource or customer. Raises: SB009 resource_not_found, SB041 too_many_feeds.
CREATE OR REPLACE FUNCTION create_calendar_feed(
  p_actor jsonb,
  p_token_hash bytea,
  p_resource_id uuid DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_limit CONSTANT integer := 20;
  v_customer_id uuid;
  v_feed calendar_feeds;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF p_resource_id IS NOT NULL THEN
    PERFORM get_resource(p_resource_id);
    PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  ELSE
    v_customer_id := upsert_customer(own_customer(p_actor, jsonb_build_object('ref', p_customer_ref)), p_now);
    PERFORM FROM customers c WHERE c.id = v_customer_id FOR NO KEY UPDATE;
  END IF;
  IF v_limit <= (
    SELECT count(*) FROM calendar_feeds f
    WHERE f.revoked_at IS NULL AND (f.resource_id = p_resource_id OR f.customer_id = v_customer_id)
  ) THEN
    RAISE EXCEPTION 'too_many_feeds' USING ERRCODE = 'SB041', DETAIL = json_build_object('limit', v_limit);
  END IF;
  INSERT INTO calendar_feeds (resource_id, customer_id, token_hash, created_at)
  VALUES (p_resource_id, v_customer_id, p_token_hash, p_now)
  RETURNING * INTO v_feed;
  RETURN calendar_feed_json(v_feed);
END
$$""",
    ),
    Change(
        "functions/customer_subjects",
        r"""-- Promises: the ids of everything that is a customer's own, as the audit trail names it. Called by erase_customer and
-- export_customer.
CREATE OR REPLACE FUNCTION customer_subjects(p_customer_id uuid)
RETURNS TABLE (subject_type text, subject_id text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT 'customer', p_customer_id::text
    UNION ALL
    SELECT 'booking', b.id::text FROM bookings b WHERE b.customer_id = p_customer_id
    UNION ALL
    SELECT 'prebooking', p.id::text FROM prebookings p WHERE p.customer_id = p_customer_id
    UNION ALL
    SELECT 'waitlist_entry', w.id::text FROM waitlist_entries w WHERE w.customer_id = p_customer_id
    UNION ALL
    SELECT 'crew_member', m.id::text FROM crew_members m WHERE m.customer_id = p_customer_id
    UNION ALL
    SELECT 'auto_sync_participant', t.id::text FROM auto_sync_participants t WHERE t.customer_id = p_customer_id
    UNION ALL
    -- of credentials that are deleted only the trail knows
    SELECT DISTINCT 'credentials', a.subject_id
    FROM audit_log a
    WHERE a.subject_type = 'credentials' AND COALESCE(a.new_values, a.old_values) ->> 'customer_id' = p_customer_id::text;
END
$$""",
        r"""-- Promises: the ids of everything that is a customer's own, as the audit trail names it. Called by erase_customer and
-- export_customer.
CREATE OR REPLACE FUNCTION customer_subjects(p_customer_id uuid)
RETURNS TABLE (subject_type text, subject_id text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT 'customer', p_customer_id::text
    UNION ALL
    SELECT 'booking', b.id::text FROM bookings b WHERE b.customer_id = p_customer_id
    UNION ALL
    SELECT 'prebooking', p.id::text FROM prebookings p WHERE p.customer_id = p_customer_id
    UNION ALL
    SELECT 'waitlist_entry', w.id::text FROM waitlist_entries w WHERE w.customer_id = p_customer_id
    UNION ALL
    SELECT 'crew_member', m.id::text FROM crew_members m WHERE m.customer_id = p_customer_id
    UNION ALL
    SELECT 'auto_sync_participant', t.id::text FROM auto_sync_participants t WHERE t.customer_id = p_customer_id
    UNION ALL
    SELECT 'calendar_feed', f.id::text FROM calendar_feeds f WHERE f.customer_id = p_customer_id
    UNION ALL
    -- of credentials that are deleted only the trail knows
    SELECT DISTINCT 'credentials', a.subject_id
    FROM audit_log a
    WHERE a.subject_type = 'credentials' AND COALESCE(a.new_values, a.old_values) ->> 'customer_id' = p_customer_id::text;
END
$$""",
    ),
    Change(
        "functions/erase_customer_rows",
        r"""-- Promises: no row of a customer's own says anything personal any more; that it was there, when, and what it came to, stays.
-- Called by erase_customer, with the customer's row locked. Locks: prebookings, bookings, then jobs and what hangs on them.
CREATE OR REPLACE FUNCTION erase_customer_rows(p_customer_id uuid, p_ref text, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_ids text[];
  v_jobs uuid[];
BEGIN
  UPDATE prebookings p
  SET targets = CASE
        WHEN p.provider IS NULL THEN p.targets
        ELSE (SELECT jsonb_agg('{}'::jsonb) FROM jsonb_array_elements(p.targets))
      END,
      confirmation = NULL, detail = NULL, updated_at = p_now
  WHERE p.customer_id = p_customer_id;
  UPDATE prebooking_attempts a SET detail = NULL, confirmation = NULL
  FROM prebookings p
  WHERE p.customer_id = p_customer_id AND a.prebooking_id = p.id;
  UPDATE bookings b SET metadata = '{}', updated_at = p_now WHERE b.customer_id = p_customer_id AND b.metadata <> '{}';
  UPDATE messages m SET detail = NULL, provider_ref = NULL, language = NULL, updated_at = p_now
  WHERE m.customer_id = p_customer_id;
  UPDATE crew_members m SET left_at = p_now WHERE m.customer_id = p_customer_id AND m.left_at IS NULL;
  DELETE FROM provider_credentials c WHERE c.customer_id = p_customer_id;

  v_ids := ARRAY(
    SELECT s.subject_id FROM customer_subjects(p_customer_id) s
    UNION ALL
    SELECT m.id::text FROM messages m WHERE m.customer_id = p_customer_id
  );
  v_jobs := ARRAY(
    SELECT j.id FROM jobs j
    WHERE j.booking_id::text = ANY (v_ids)
      OR EXISTS (SELECT FROM unnest(v_ids) i WHERE strpos(j.dedupe_key || j.payload::text, i) > 0)
    ORDER BY j.id
  );
  UPDATE jobs j
  SET payload = CASE WHEN j.status IN ('pending', 'processing') THEN j.payload ELSE '{}' END,
      result = NULL, error_message = NULL
  WHERE j.id = ANY (v_jobs);
  UPDATE job_attempts a SET error_message = NULL WHERE a.job_id = ANY (v_jobs);

  DELETE FROM idempotency_keys k
  WHERE k.principal = 'customer:' || p_ref
    OR k.response ->> 'customer_ref' = p_ref
    OR EXISTS (SELECT FROM unnest(v_ids) i WHERE strpos(k.response::text, i) > 0);
END
$$""",
        r"""-- Promises: no row of a customer's own says anything personal any more; that it was there, when, and what it came to, stays.
-- Called by erase_customer, with the customer's row locked. Locks: prebookings, bookings, then jobs and what hangs on them.
CREATE OR REPLACE FUNCTION erase_customer_rows(p_customer_id uuid, p_ref text, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_ids text[];
  v_jobs uuid[];
BEGIN
  UPDATE prebookings p
  SET targets = CASE
        WHEN p.provider IS NULL THEN p.targets
        ELSE (SELECT jsonb_agg('{}'::jsonb) FROM jsonb_array_elements(p.targets))
      END,
      confirmation = NULL, detail = NULL, updated_at = p_now
  WHERE p.customer_id = p_customer_id;
  UPDATE prebooking_attempts a SET detail = NULL, confirmation = NULL
  FROM prebookings p
  WHERE p.customer_id = p_customer_id AND a.prebooking_id = p.id;
  UPDATE bookings b SET metadata = '{}', updated_at = p_now WHERE b.customer_id = p_customer_id AND b.metadata <> '{}';
  UPDATE messages m SET detail = NULL, provider_ref = NULL, language = NULL, updated_at = p_now
  WHERE m.customer_id = p_customer_id;
  UPDATE crew_members m SET left_at = p_now WHERE m.customer_id = p_customer_id AND m.left_at IS NULL;
  DELETE FROM provider_credentials c WHERE c.customer_id = p_customer_id;
  UPDATE calendar_feeds f SET revoked_at = p_now WHERE f.customer_id = p_customer_id AND f.revoked_at IS NULL;

  v_ids := ARRAY(
    SELECT s.subject_id FROM customer_subjects(p_customer_id) s
    UNION ALL
    SELECT m.id::text FROM messages m WHERE m.customer_id = p_customer_id
  );
  v_jobs := ARRAY(
    SELECT j.id FROM jobs j
    WHERE j.booking_id::text = ANY (v_ids)
      OR EXISTS (SELECT FROM unnest(v_ids) i WHERE strpos(j.dedupe_key || j.payload::text, i) > 0)
    ORDER BY j.id
  );
  UPDATE jobs j
  SET payload = CASE WHEN j.status IN ('pending', 'processing') THEN j.payload ELSE '{}' END,
      result = NULL, error_message = NULL
  WHERE j.id = ANY (v_jobs);
  UPDATE job_attempts a SET error_message = NULL WHERE a.job_id = ANY (v_jobs);

  DELETE FROM idempotency_keys k
  WHERE k.principal = 'customer:' || p_ref
    OR k.response ->> 'customer_ref' = p_ref
    OR EXISTS (SELECT FROM unnest(v_ids) i WHERE strpos(k.response::text, i) > 0);
END
$$""",
    ),
    Change(
        "functions/export_customer",
        r"""-- Promises: everything that is held on a customer, as one document; of credentials that they are there, never the secret.
-- Called by POST /v1/customers/{ref}/export. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION export_customer(p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  SELECT * INTO v_customer FROM customers c WHERE c.ref = p_customer_ref;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'customer_not_found' USING ERRCODE = 'SB037', DETAIL = '{}';
  END IF;
  RETURN json_build_object(
    'customer', to_jsonb(v_customer),
    'bookings', (
      SELECT COALESCE(json_agg(booking_json(b, v_customer.ref) ORDER BY b.created_at, b.id), '[]')
      FROM bookings b WHERE b.customer_id = v_customer.id
    ),
    'prebookings', (
      SELECT COALESCE(json_agg(prebooking_json(p) ORDER BY p.created_at, p.id), '[]')
      FROM prebookings p WHERE p.customer_id = v_customer.id
    ),
    'waitlist_entries', (
      SELECT COALESCE(json_agg(to_jsonb(w) ORDER BY w.created_at, w.id), '[]')
      FROM waitlist_entries w WHERE w.customer_id = v_customer.id
    ),
    'messages', (
      SELECT COALESCE(json_agg(to_jsonb(m) ORDER BY m.created_at, m.id), '[]')
      FROM messages m WHERE m.customer_id = v_customer.id
    ),
    'crew_memberships', (
      SELECT COALESCE(json_agg(to_jsonb(m) || jsonb_build_object('crew_name', w.name) ORDER BY m.joined_at, m.id), '[]')
      FROM crew_members m JOIN crews w ON w.id = m.crew_id WHERE m.customer_id = v_customer.id
    ),
    'responses', (
      SELECT COALESCE(json_agg(to_jsonb(t) || jsonb_build_object('event_name', a.event_name) ORDER BY t.created_at, t.id), '[]')
      FROM auto_sync_participants t JOIN auto_syncs a ON a.id = t.auto_sync_id WHERE t.customer_id = v_customer.id
    ),
    'credentials', (
      SELECT COALESCE(json_agg(credentials_json(c, v_customer.ref) ORDER BY c.created_at, c.id), '[]')
      FROM provider_credentials c WHERE c.customer_id = v_customer.id
    ),
    'payment_events', (
      SELECT COALESCE(json_agg(to_jsonb(e) ORDER BY e.created_at, e.id), '[]')
      FROM payment_events e JOIN bookings b ON b.id = e.booking_id WHERE b.customer_id = v_customer.id
    ),
    'audit_entries', (
      SELECT COALESCE(json_agg(to_jsonb(a) - '{position,prev_hash,hash,xid,address_salt,address_hash}'::text[] ORDER BY a.id), '[]')
      FROM audit_log a
      WHERE a.id IN (
        SELECT o.id FROM audit_log o WHERE o.performed_by_id LIKE 'customer:%' AND o.performed_by_id = 'customer:' || v_customer.ref
        UNION
        SELECT * FROM customer_audit_entries(v_customer.id)
      )
    )
  );
END
$$""",
        r"""-- Promises: everything that is held on a customer, as one document; of credentials and calendar feeds that they are there, never the
-- secret.
-- Called by POST /v1/customers/{ref}/export. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION export_customer(p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  SELECT * INTO v_customer FROM customers c WHERE c.ref = p_customer_ref;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'customer_not_found' USING ERRCODE = 'SB037', DETAIL = '{}';
  END IF;
  RETURN json_build_object(
    'customer', to_jsonb(v_customer),
    'bookings', (
      SELECT COALESCE(json_agg(booking_json(b, v_customer.ref) ORDER BY b.created_at, b.id), '[]')
      FROM bookings b WHERE b.customer_id = v_customer.id
    ),
    'prebookings', (
      SELECT COALESCE(json_agg(prebooking_json(p) ORDER BY p.created_at, p.id), '[]')
      FROM prebookings p WHERE p.customer_id = v_customer.id
    ),
    'waitlist_entries', (
      SELECT COALESCE(json_agg(to_jsonb(w) ORDER BY w.created_at, w.id), '[]')
      FROM waitlist_entries w WHERE w.customer_id = v_customer.id
    ),
    'messages', (
      SELECT COALESCE(json_agg(to_jsonb(m) ORDER BY m.created_at, m.id), '[]')
      FROM messages m WHERE m.customer_id = v_customer.id
    ),
    'crew_memberships', (
      SELECT COALESCE(json_agg(to_jsonb(m) || jsonb_build_object('crew_name', w.name) ORDER BY m.joined_at, m.id), '[]')
      FROM crew_members m JOIN crews w ON w.id = m.crew_id WHERE m.customer_id = v_customer.id
    ),
    'responses', (
      SELECT COALESCE(json_agg(to_jsonb(t) || jsonb_build_object('event_name', a.event_name) ORDER BY t.created_at, t.id), '[]')
      FROM auto_sync_participants t JOIN auto_syncs a ON a.id = t.auto_sync_id WHERE t.customer_id = v_customer.id
    ),
    'credentials', (
      SELECT COALESCE(json_agg(credentials_json(c, v_customer.ref) ORDER BY c.created_at, c.id), '[]')
      FROM provider_credentials c WHERE c.customer_id = v_customer.id
    ),
    'calendar_feeds', (
      SELECT COALESCE(json_agg(to_jsonb(f) - 'token_hash' ORDER BY f.created_at, f.id), '[]')
      FROM calendar_feeds f WHERE f.customer_id = v_customer.id
    ),
    'payment_events', (
      SELECT COALESCE(json_agg(to_jsonb(e) ORDER BY e.created_at, e.id), '[]')
      FROM payment_events e JOIN bookings b ON b.id = e.booking_id WHERE b.customer_id = v_customer.id
    ),
    'audit_entries', (
      SELECT COALESCE(json_agg(to_jsonb(a) - '{position,prev_hash,hash,xid,address_salt,address_hash}'::text[] ORDER BY a.id), '[]')
      FROM audit_log a
      WHERE a.id IN (
        SELECT o.id FROM audit_log o WHERE o.performed_by_id LIKE 'customer:%' AND o.performed_by_id = 'customer:' || v_customer.ref
        UNION
        SELECT * FROM customer_audit_entries(v_customer.id)
      )
    )
  );
END
$$""",
    ),
    Change(
        "functions/is_idle_customer",
        r"""-- Promises: whether nothing of the customer's happened since p_since, and nothing is still to happen; false under a legal hold and
-- of whom was erased. Called by enqueue_idle_customers, and by erase_customer for whoever says since when.
CREATE OR REPLACE FUNCTION is_idle_customer(p_customer customers, p_since timestamptz)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN p_customer.ref IS NOT NULL AND p_customer.legal_hold_since IS NULL AND p_customer.updated_at < p_since
    AND NOT EXISTS (
      SELECT FROM bookings b
      WHERE b.customer_id = p_customer.id
        AND (b.ends_at >= p_since OR b.updated_at >= p_since OR b.status IN ('pending', 'confirmed'))
    )
    AND NOT EXISTS (
      SELECT FROM prebookings p
      WHERE p.customer_id = p_customer.id AND (p.updated_at >= p_since OR p.status IN ('pending', 'executing'))
    )
    AND NOT EXISTS (
      SELECT FROM waitlist_entries w
      WHERE w.customer_id = p_customer.id AND (w.updated_at >= p_since OR w.status IN ('waiting', 'offered'))
    )
    AND NOT EXISTS (
      SELECT FROM crew_members m
      WHERE m.customer_id = p_customer.id AND GREATEST(m.joined_at, m.left_at) >= p_since
    )
    AND NOT EXISTS (SELECT FROM crews c WHERE c.organizer_id = p_customer.id AND c.updated_at >= p_since)
    AND NOT EXISTS (
      SELECT FROM auto_sync_participants a
      JOIN auto_syncs s ON s.id = a.auto_sync_id
      WHERE a.customer_id = p_customer.id AND (a.updated_at >= p_since OR s.status IN ('running', 'paused'))
    )
    AND NOT EXISTS (
      SELECT FROM auto_syncs s
      JOIN crews c ON c.id = s.crew_id
      WHERE c.organizer_id = p_customer.id AND (s.updated_at >= p_since OR s.status IN ('running', 'paused'))
    )
    AND NOT EXISTS (
      SELECT FROM messages m
      WHERE m.customer_id = p_customer.id AND (m.updated_at >= p_since OR m.status IN ('pending', 'sending'))
    )
    AND NOT EXISTS (SELECT FROM provider_credentials k WHERE k.customer_id = p_customer.id AND k.created_at >= p_since);
END
$$""",
        r"""-- Promises: whether nothing of the customer's happened since p_since, and nothing is still to happen; false under a legal hold and
-- of whom was erased. Called by enqueue_idle_customers, and by erase_customer for whoever says since when.
CREATE OR REPLACE FUNCTION is_idle_customer(p_customer customers, p_since timestamptz)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN p_customer.ref IS NOT NULL AND p_customer.legal_hold_since IS NULL AND p_customer.updated_at < p_since
    AND NOT EXISTS (
      SELECT FROM bookings b
      WHERE b.customer_id = p_customer.id
        AND (b.ends_at >= p_since OR b.updated_at >= p_since OR b.status IN ('pending', 'confirmed'))
    )
    AND NOT EXISTS (
      SELECT FROM prebookings p
      WHERE p.customer_id = p_customer.id AND (p.updated_at >= p_since OR p.status IN ('pending', 'executing'))
    )
    AND NOT EXISTS (
      SELECT FROM waitlist_entries w
      WHERE w.customer_id = p_customer.id AND (w.updated_at >= p_since OR w.status IN ('waiting', 'offered'))
    )
    AND NOT EXISTS (
      SELECT FROM crew_members m
      WHERE m.customer_id = p_customer.id AND GREATEST(m.joined_at, m.left_at) >= p_since
    )
    AND NOT EXISTS (SELECT FROM crews c WHERE c.organizer_id = p_customer.id AND c.updated_at >= p_since)
    AND NOT EXISTS (
      SELECT FROM auto_sync_participants a
      JOIN auto_syncs s ON s.id = a.auto_sync_id
      WHERE a.customer_id = p_customer.id AND (a.updated_at >= p_since OR s.status IN ('running', 'paused'))
    )
    AND NOT EXISTS (
      SELECT FROM auto_syncs s
      JOIN crews c ON c.id = s.crew_id
      WHERE c.organizer_id = p_customer.id AND (s.updated_at >= p_since OR s.status IN ('running', 'paused'))
    )
    AND NOT EXISTS (
      SELECT FROM messages m
      WHERE m.customer_id = p_customer.id AND (m.updated_at >= p_since OR m.status IN ('pending', 'sending'))
    )
    AND NOT EXISTS (SELECT FROM provider_credentials k WHERE k.customer_id = p_customer.id AND k.created_at >= p_since)
    AND NOT EXISTS (
      SELECT FROM calendar_feeds f
      WHERE f.customer_id = p_customer.id AND GREATEST(f.created_at, f.revoked_at) >= p_since
    );
END
$$""",
    ),
    Change(
        "functions/list_calendar_feeds",
        None,
        r"""-- Promises: the feeds of the resource, or of the customer, that are not revoked, in order of creation; never their hashes.
-- Called by GET /v1/resources/{id}/calendar-feeds and /v1/customers/{ref}/calendar-feeds. Raises: SB009 resource_not_found.
CREATE OR REPLACE FUNCTION list_calendar_feeds(p_resource_id uuid DEFAULT NULL, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM act_for(p_customer_ref);
  IF p_resource_id IS NOT NULL THEN
    PERFORM get_resource(p_resource_id);
  END IF;
  RETURN (
    SELECT json_build_object('items', COALESCE(json_agg(calendar_feed_json(f) ORDER BY f.created_at, f.id), '[]'))
    FROM calendar_feeds f
    WHERE f.revoked_at IS NULL
      AND (
        f.resource_id = p_resource_id
        OR f.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref)
      )
  );
END
$$""",
    ),
    Change(
        "functions/read_calendar_feed",
        None,
        r"""-- Promises: the calendar behind the token with that hash, as calendar_bookings answers it, with an ETag that changes when any of its
-- bookings does; no row for a feed that is unknown, revoked or an erased customer's. A calendar that is empty, or that the caller
-- has under that ETag already, is one row without a booking. Called by GET /calendars/{token}.ics. What a customer's feed shows is
-- read as that customer.
CREATE OR REPLACE FUNCTION read_calendar_feed(
  p_token_hash bytea, p_etags text[] DEFAULT '{}', p_now timestamptz DEFAULT now()
)
RETURNS TABLE (
  is_of_resource boolean,
  etag text,
  booking_id uuid,
  reference text,
  resource_name text,
  customer text,
  status text,
  units integer,
  starts_at timestamptz,
  ends_at timestamptz,
  version integer,
  created_at timestamptz,
  updated_at timestamptz
)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_resource_id uuid;
  v_ref text;
BEGIN
  SELECT f.resource_id, c.ref INTO v_resource_id, v_ref
  FROM calendar_feeds f
  LEFT JOIN customers c ON c.id = f.customer_id
  -- who is erased has no ref, and without one everybody's bookings would be shown
  WHERE f.token_hash = p_token_hash AND f.revoked_at IS NULL AND num_nonnulls(f.resource_id, c.ref) = 1;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  RETURN QUERY
    WITH shown AS MATERIALIZED (
      SELECT * FROM calendar_bookings(v_resource_id, v_ref, p_now)
    ), tag AS (
      SELECT to_hex(COALESCE(bit_xor(hash_record_extended(s, 0)), 0) # hashtextextended('', count(*))) AS etag
      FROM shown s
    )
    SELECT v_resource_id IS NOT NULL, t.etag, s.*
    FROM tag t
    LEFT JOIN shown s ON t.etag <> ALL (p_etags)
    ORDER BY s.starts_at, s.booking_id;
END
$$""",
    ),
    Change(
        "functions/revoke_calendar_feed",
        None,
        r"""-- Promises: the feed opens nothing any more, from the commit on. Answers whether there was one, for whoever asks: a customer's own,
-- of customers for a frontend, any for an admin. Called by DELETE /v1/calendar-feeds/{id}. Locks: the feed.
CREATE OR REPLACE FUNCTION revoke_calendar_feed(p_actor jsonb, p_feed_id uuid, p_now timestamptz DEFAULT now())
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_ref text := p_actor ->> 'customer_ref';
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE calendar_feeds f
  SET revoked_at = p_now
  WHERE f.id = p_feed_id
    AND f.revoked_at IS NULL
    AND (f.customer_id IS NOT NULL OR p_actor ->> 'type' = 'admin')
    AND (v_ref IS NULL OR f.customer_id = (SELECT c.id FROM customers c WHERE c.ref = v_ref));
  RETURN FOUND;
END
$$""",
    ),
    Change(
        "triggers/calendar_feeds_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER calendar_feeds_write_audit
AFTER INSERT OR UPDATE OR DELETE ON calendar_feeds
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('calendar_feed', 'token_hash')""",
    ),
]


def upgrade() -> None:
    op.execute(TABLE)
    for name, index in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON {index}")
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
    op.execute("DROP TABLE calendar_feeds")
