"""the audit trail is a chain and customers are erased.

Revision ID: 0027
Revises: 0026
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/audit_chain_faults",
        None,
        r"""-- Promises: every audit row that is not where and what its chain says: `changed`; `reordered`, chained to a row that stands
-- elsewhere; `missing`, with gaps before it; `inserted`, in a place that is taken; `replaced`, not what the next one was
-- chained to; `unchained`. A row that an erasure emptied is as that one says. Called by verify_audit_log. A pass over the
-- table in the order of its index, some bytes a row.
CREATE OR REPLACE FUNCTION audit_chain_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    WITH emptied AS MATERIALIZED (
      SELECT DISTINCT ON (m.id) m.id::bigint AS id, m.content
      FROM audit_log e
      CROSS JOIN LATERAL jsonb_each_text(e.new_values -> 'emptied') AS m (id, content)
      WHERE e.event = 'customer.erased'
      ORDER BY m.id, e.id DESC
    )
    SELECT l.subject_type, l.subject_id, f.audit_id, f.fault
    FROM (
      SELECT e.*, lag(e.id) OVER w AS prev_id, lag(e.position) OVER w AS prev_position, lag(e.hash) OVER w AS last_hash
      FROM (
        SELECT a.subject_type, a.subject_id, a.id, a.position, a.prev_hash, a.hash,
          a.hash = audit_hash(a) OR m.content IS NOT DISTINCT FROM encode(audit_hash(a), 'hex') AS is_true
        FROM audit_log a
        LEFT JOIN emptied m USING (id)
        -- or whole rows would go through the sort
        OFFSET 0
      ) e
      WINDOW w AS (PARTITION BY e.subject_type, e.subject_id ORDER BY e.position, e.id)
    ) l
    CROSS JOIN LATERAL (
      VALUES
        (l.id, CASE
          WHEN l.position IS NULL OR l.hash IS NULL THEN 'unchained'
          WHEN l.is_true THEN NULL
          WHEN EXISTS (
            SELECT FROM audit_log o
            WHERE o.subject_type = l.subject_type AND o.subject_id = l.subject_id AND o.hash = l.prev_hash
              AND o.position <> l.position - 1
          ) OR l.position > 1 AND l.prev_hash IS NULL THEN 'reordered'
          ELSE 'changed'
        END),
        (l.id, CASE
          WHEN l.position < 1 OR l.position = l.prev_position THEN 'inserted'
          WHEN l.position > COALESCE(l.prev_position, 0) + 1 THEN 'missing'
        END),
        (COALESCE(l.prev_id, l.id), CASE
          WHEN l.position = COALESCE(l.prev_position, 0) + 1 AND l.prev_hash IS DISTINCT FROM l.last_hash THEN 'replaced'
        END)
    ) AS f (audit_id, fault)
    WHERE f.fault IS NOT NULL;
END
$$""",
    ),
    Change(
        "functions/audit_checkpoint_faults",
        None,
        r"""-- Promises: every difference between the checkpoints and the trail: a head that is `missing` or `replaced`, a row `inserted`
-- below the newest checkpoint, a checkpoint that is `changed` against its heads or `missing`. Called by verify_audit_log.
CREATE OR REPLACE FUNCTION audit_checkpoint_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT h.subject_type, h.subject_id, a.id, CASE WHEN a.id IS NULL THEN 'missing' ELSE 'replaced' END
    FROM audit_heads h
    LEFT JOIN audit_log a USING (subject_type, subject_id, position)
    WHERE a.hash IS DISTINCT FROM h.hash
    UNION ALL
    SELECT a.subject_type, a.subject_id, a.id, 'inserted'
    FROM audit_log a
    LEFT JOIN (
      SELECT x.subject_type, x.subject_id, max(x.position) AS position FROM audit_heads x GROUP BY 1, 2
    ) h USING (subject_type, subject_id)
    WHERE a.id <= (SELECT max(c.up_to) FROM audit_checkpoints c) AND a.position > COALESCE(h.position, 0)
    UNION ALL
    SELECT 'checkpoint', c.number::text, NULL, 'changed'
    FROM (SELECT x.*, x.statement::jsonb AS states, lag(x.digest) OVER (ORDER BY x.number) AS previous FROM audit_checkpoints x) c
    WHERE (c.states ->> 'number', c.states ->> 'up_to', c.states ->> 'digest')
        IS DISTINCT FROM (c.number::text, c.up_to::text, c.digest)
      OR c.states ->> 'previous' IS DISTINCT FROM c.previous
      OR c.digest <> audit_digest(c.previous, ARRAY(SELECT h FROM audit_heads h WHERE h.checkpoint = c.number))
    UNION ALL
    SELECT 'checkpoint', n::text, NULL, 'missing'
    FROM generate_series(1, (SELECT max(c.number) FROM audit_checkpoints c)) n
    WHERE NOT EXISTS (SELECT FROM audit_checkpoints c WHERE c.number = n);
END
$$""",
    ),
    Change(
        "functions/audit_digest",
        None,
        r"""-- Promises: one SHA-256 over the heads of a checkpoint, whatever order they come in, and over the digest of the checkpoint
-- before. Called by draft_audit_checkpoint, put_audit_checkpoint and audit_checkpoint_faults.
CREATE OR REPLACE FUNCTION audit_digest(p_previous text, p_heads audit_heads[])
RETURNS text
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN encode(sha256(convert_to(COALESCE(p_previous, ''), 'UTF8') || COALESCE(string_agg(e.digest, '' ORDER BY e.digest), '')), 'hex')
  FROM (
    SELECT sha256(convert_to(
      jsonb_build_array(h.subject_type, h.subject_id, h.position, encode(h.hash, 'hex'))::text, 'UTF8'
    )) AS digest
    FROM unnest(p_heads) h
  ) e;
END
$$""",
    ),
    Change(
        "functions/audit_hash",
        None,
        r"""-- Promises: the SHA-256 of an audit row in its place in the chain of its subject, the same in every session and on every
-- version of Postgres: times are microseconds, addresses text, states jsonb, and null is not ''. Called by audit_log_chain,
-- audit_log_guard_update, backfill_audit_chain and audit_chain_faults.
-- Not in it: `xid`, which whoever restores a dump elsewhere has to empty.
CREATE OR REPLACE FUNCTION audit_hash(p_entry audit_log)
RETURNS bytea
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN sha256(convert_to(json_build_array(
  p_entry.position, encode(p_entry.prev_hash, 'hex'), p_entry.id, p_entry.subject_type, p_entry.subject_id,
  p_entry.event, p_entry.action_type, p_entry.old_values, p_entry.new_values, to_jsonb(p_entry.hidden_changes),
  p_entry.performed_by, p_entry.performed_by_id, text(p_entry.ip_address), p_entry.user_agent, p_entry.reason,
  p_entry.request_id, (extract(epoch FROM p_entry.created_at) * 1000000)::bigint
)::text, 'UTF8'))""",
    ),
    Change(
        "functions/audit_log_chain",
        None,
        r"""-- Promises: a new audit row, whoever writes it, stands after the last one of its subject and carries its hash. Called by trigger
-- audit_log_chain. Who writes a subject holds its row, so there is one writer; the unique index refuses any other
-- (write_audit_log comes again). While older rows of the subject are not chained, nor is this one: backfill_audit_chain does.
CREATE OR REPLACE FUNCTION audit_log_chain()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_last record;
BEGIN
  NEW.position := NULL;
  NEW.prev_hash := NULL;
  NEW.hash := NULL;
  -- what is not chained comes first
  SELECT a.position, a.hash INTO v_last
  FROM audit_log a
  WHERE a.subject_type = NEW.subject_type AND a.subject_id = NEW.subject_id
  ORDER BY a.position DESC
  LIMIT 1;
  IF NOT FOUND OR v_last.position IS NOT NULL THEN
    NEW.position := COALESCE(v_last.position, 0) + 1;
    NEW.prev_hash := v_last.hash;
    NEW.hash := audit_hash(NEW);
  END IF;
  RETURN NEW;
END
$$""",
    ),
    Change(
        "functions/audit_log_guard_update",
        None,
        r"""-- Promises: of an audit row nothing changes but this: one that was not chained gets its true place in the chain; and one loses
-- its personal data, if an entry of the trail that `holdfast.erasure` names says of this row that it is so from now on.
-- Called by trigger audit_log_guard_update.
-- Raises: SB012 change_refused.
CREATE OR REPLACE FUNCTION audit_log_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_chained audit_log := OLD;
BEGIN
  v_chained.position := NEW.position;
  v_chained.prev_hash := NEW.prev_hash;
  v_chained.hash := audit_hash(NEW);
  IF OLD.position IS NULL AND NEW.position IS NOT NULL AND v_chained IS NOT DISTINCT FROM NEW THEN
    RETURN NEW;
  END IF;

  IF (NEW IS NOT DISTINCT FROM erased_audit_entry(OLD, true) OR NEW IS NOT DISTINCT FROM erased_audit_entry(OLD, false))
    AND EXISTS (
      SELECT FROM audit_log e
      WHERE e.id = NULLIF(current_setting('holdfast.erasure', true), '')::bigint AND e.event = 'customer.erased'
        AND e.new_values -> 'emptied' ->> OLD.id::text = encode(audit_hash(NEW), 'hex')
    )
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'change_refused' USING ERRCODE = 'SB012',
    DETAIL = json_build_object('table', 'audit_log', 'operation', 'update');
END
$$""",
    ),
    Change(
        "functions/audit_mark",
        None,
        r"""-- Promises: the last id that was drawn for an audit row, and a transaction before which every one that drew it, or an earlier
-- one, began to write: when all before that transaction are over, nothing is added up to that id any more. Called by the making
-- of checkpoints.
CREATE OR REPLACE FUNCTION audit_mark(OUT up_to bigint, OUT before xid8)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  up_to := pg_sequence_last_value(pg_get_serial_sequence('audit_log', 'id')::regclass);
  before := pg_current_xact_id();
END
$$""",
    ),
    Change(
        "functions/audit_subject_faults",
        None,
        r"""-- Promises: every subject that is not as its last audit row says: `differs`, for later rows are cut off or somebody changed it
-- around its trigger; `missing`, for it has none. Not in it: jobs, deliveries and answers to auto-syncs, of which not every row
-- is on record; columns that are not on record. Called by verify_audit_log.
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
      $query$,
      v_kind.subject, v_kind.relation, v_kind.key
    ) USING v_kind.not_on_record
    LOOP
      RETURN NEXT;
    END LOOP;
  END LOOP;
END
$$""",
    ),
    Change(
        "functions/backfill_audit_chain",
        None,
        r"""-- Promises: of up to p_limit audit rows that are not chained, the oldest, each stands in the chain of its subject; answers how
-- many. Called by housekeeping until none is left: rows from before chains, and those written meanwhile to their subjects.
-- Locks: the rows, by id, so that whoever comes second finds none of them left.
CREATE OR REPLACE FUNCTION backfill_audit_chain(p_limit integer)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry audit_log;
  v_last record;
  v_done integer := 0;
BEGIN
  FOR v_entry IN
    SELECT * FROM audit_log a WHERE a.position IS NULL ORDER BY a.id LIMIT p_limit FOR NO KEY UPDATE
  LOOP
    SELECT a.position, a.hash INTO v_last
    FROM audit_log a
    WHERE a.subject_type = v_entry.subject_type AND a.subject_id = v_entry.subject_id AND a.position IS NOT NULL
    ORDER BY a.position DESC
    LIMIT 1;
    v_entry.position := COALESCE(v_last.position, 0) + 1;
    v_entry.prev_hash := v_last.hash;
    UPDATE audit_log a
    SET position = v_entry.position, prev_hash = v_entry.prev_hash, hash = audit_hash(v_entry)
    WHERE a.id = v_entry.id;
    v_done := v_done + 1;
  END LOOP;
  RETURN v_done;
END
$$""",
    ),
    Change(
        "functions/booking_history",
        r"""-- Promises: the audit trail of one booking, oldest first. Called by GET /v1/bookings/{id}/history.
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
$$""",
        r"""-- Promises: the audit trail of one booking, oldest first; with p_as_of, up to that moment, and the booking as it was then, or
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
$$""",
    ),
    Change(
        "functions/customer_subjects",
        None,
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
    WHERE a.subject_type = 'credentials' AND p_customer_id::text IN (a.new_values ->> 'customer_id', a.old_values ->> 'customer_id');
END
$$""",
    ),
    Change(
        "functions/delete_legal_hold",
        None,
        r"""-- Promises: the customer may be erased again; without a hold nothing changes. Called by DELETE /v1/customers/{ref}/legal-hold.
-- Locks: the customer. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION delete_legal_hold(p_actor jsonb, p_customer_ref text, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_customer := lock_customer(p_customer_ref);
  UPDATE customers c
  SET legal_hold_since = NULL, legal_hold_reason = NULL, updated_at = p_now
  WHERE c.id = v_customer.id AND c.legal_hold_since IS NOT NULL;
END
$$""",
    ),
    Change(
        "functions/draft_audit_checkpoint",
        None,
        r"""-- Promises: what the next checkpoint states, for whoever signs it: that up to an id the trail is so and so. Null while rows may
-- still be added up to there, for which it takes what audit_mark said, and while some are not chained. Called by the making of
-- checkpoints.
CREATE OR REPLACE FUNCTION draft_audit_checkpoint(p_up_to bigint, p_before xid8, p_now timestamptz DEFAULT now())
RETURNS text
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  IF pg_snapshot_xmin(pg_current_snapshot()) < p_before
    OR EXISTS (SELECT FROM audit_log a WHERE a.position IS NULL AND a.id <= p_up_to)
  THEN
    RETURN NULL;
  END IF;
  RETURN (
    SELECT jsonb_build_object(
      'number', COALESCE(max(c.number), 0) + 1,
      'up_to', p_up_to,
      'previous', max(c.digest) FILTER (WHERE c.is_newest),
      'digest', audit_digest(max(c.digest) FILTER (WHERE c.is_newest), ARRAY(SELECT h FROM new_audit_heads(p_up_to) h)),
      'made_at', to_char(p_now AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    )::text
    FROM (SELECT x.*, x.number = max(x.number) OVER () AS is_newest FROM audit_checkpoints x) c
  );
END
$$""",
    ),
    Change(
        "functions/erase_customer",
        None,
        r"""-- Promises: nothing that tells who the customer was is left in the database, and what it recounts and has on record stands: how
-- many bookings there were, when, and that they were this customer's. Called by POST /v1/customers/{ref}/erase.
-- Locks: crews, prebookings, customer, bookings, jobs. Raises: SB010 idempotency_conflict, SB035 legal_hold, SB036 customer_active,
-- SB037 customer_not_found.
CREATE OR REPLACE FUNCTION erase_customer(
  p_actor jsonb, p_customer_ref text, p_reason text, p_idempotency_key text DEFAULT NULL, p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_actor jsonb := p_actor || jsonb_build_object('reason', p_reason);
  v_customer customers;
  v_emptied bigint[];
BEGIN
  PERFORM set_config('holdfast.actor', v_actor::text, true);
  PERFORM FROM crews w
  WHERE w.id IN (
    SELECT m.crew_id FROM crew_members m JOIN customers c ON c.id = m.customer_id WHERE c.ref = p_customer_ref
  )
  ORDER BY w.id
  FOR NO KEY UPDATE;
  PERFORM FROM prebookings p
  WHERE p.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref)
  ORDER BY p.id
  FOR UPDATE;
  -- a twin of this request waits here, and then finds nobody of that name
  PERFORM FROM customers c WHERE c.ref = p_customer_ref FOR UPDATE;
  body := replay_request(p_actor ->> 'id', 'erase_customer', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF replayed THEN
    RETURN NEXT;
    RETURN;
  END IF;
  v_customer := lock_customer(p_customer_ref);
  PERFORM require_erasable(v_customer, p_now);

  PERFORM erase_customer_rows(v_customer.id, p_customer_ref, p_now);
  UPDATE customers c
  SET ref = NULL, name = NULL, email = NULL, phone = NULL, language = NULL, timezone = NULL, erased_at = p_now,
      updated_at = p_now
  WHERE c.id = v_customer.id
  RETURNING * INTO v_customer;
  v_emptied := redact_audit_log(v_actor, v_customer, p_customer_ref);
  UPDATE deliveries d SET last_answer = NULL, last_error = NULL WHERE d.audit_id = ANY (v_emptied);
  UPDATE delivery_attempts t SET answer = NULL, error = NULL
  FROM deliveries d
  WHERE d.audit_id = ANY (v_emptied) AND t.delivery_id = d.id;

  body := json_build_object(
    'customer_id', v_customer.id, 'erased_at', p_now, 'audit_entries_emptied', cardinality(v_emptied)
  );
  PERFORM remember_request(p_actor ->> 'id', 'erase_customer', p_idempotency_key, p_request_hash, body, p_now);
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/erase_customer_rows",
        None,
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
    ),
    Change(
        "functions/erased_audit_entry",
        None,
        r"""-- Promises: an audit row without personal data: where from and why, and which customer did it; and with
-- p_is_own the states, which are of a customer's own. Its place and hash stay: the hash is of what once stood there.
-- Called by redact_audit_log and audit_log_guard_update. Twice is once.
CREATE OR REPLACE FUNCTION erased_audit_entry(p_entry audit_log, p_is_own boolean)
RETURNS audit_log
LANGUAGE plpgsql
IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_erased audit_log := p_entry;
BEGIN
  v_erased.ip_address := NULL;
  v_erased.user_agent := NULL;
  v_erased.request_id := NULL;
  v_erased.reason := NULL;
  IF p_entry.performed_by_id LIKE 'customer:%' THEN
    v_erased.performed_by_id := 'customer:erased';
  END IF;
  IF p_is_own THEN
    v_erased.old_values := without_personal_data(p_entry.old_values);
    v_erased.new_values := without_personal_data(p_entry.new_values);
  END IF;
  RETURN v_erased;
END
$$""",
    ),
    Change(
        "functions/export_customer",
        None,
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
      SELECT COALESCE(json_agg(to_jsonb(a) - '{position,prev_hash,hash,xid}'::text[] ORDER BY a.id), '[]')
      FROM audit_log a
      WHERE a.performed_by_id = 'customer:' || v_customer.ref
        OR (a.subject_type, a.subject_id) IN (SELECT s.subject_type, s.subject_id FROM customer_subjects(v_customer.id) s)
    )
  );
END
$$""",
    ),
    Change(
        "functions/last_audit_entries",
        None,
        r"""-- Promises: the last audit row of each subject of a type, and the state that it left; the dates of a resource's exceptions
-- are one subject, and each has its last. Called by audit_subject_faults.
CREATE OR REPLACE FUNCTION last_audit_entries(p_subject_type text)
RETURNS TABLE (subject_id text, on_date text, id bigint, state jsonb)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT a.subject_id, n.on_date, a.id, a.new_values
    FROM (
      SELECT max(m.id) AS id, d.on_date
      FROM audit_log m
      CROSS JOIN LATERAL (
        SELECT CASE WHEN p_subject_type = 'schedule_exception' THEN COALESCE(m.new_values, m.old_values) ->> 'date' END
      ) AS d (on_date)
      WHERE m.subject_type = p_subject_type
      GROUP BY m.subject_id, d.on_date
    ) n
    JOIN audit_log a ON a.id = n.id;
END
$$""",
    ),
    Change(
        "functions/lock_customer",
        None,
        r"""-- Promises: the row of the customer with that ref, locked until the transaction ends against everything that names it.
-- Called by erase_customer and put_legal_hold. Locks: the customer. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION lock_customer(p_customer_ref text)
RETURNS customers
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  SELECT * INTO v_customer FROM customers c WHERE c.ref = p_customer_ref FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'customer_not_found' USING ERRCODE = 'SB037', DETAIL = '{}';
  END IF;
  RETURN v_customer;
END
$$""",
    ),
    Change(
        "functions/new_audit_heads",
        None,
        r"""-- Promises: the last audit row of each subject that has one after the newest checkpoint and up to an id: the heads of the next
-- checkpoint. Called by draft_audit_checkpoint and put_audit_checkpoint.
CREATE OR REPLACE FUNCTION new_audit_heads(p_up_to bigint)
RETURNS SETOF audit_heads
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT DISTINCT ON (a.subject_type, a.subject_id) c.number + 1, a.subject_type, a.subject_id, a.position, a.hash
    FROM (SELECT COALESCE(max(x.number), 0) AS number, COALESCE(max(x.up_to), 0) AS up_to FROM audit_checkpoints x) c
    JOIN audit_log a ON a.id > c.up_to AND a.id <= p_up_to
    ORDER BY a.subject_type, a.subject_id, a.position DESC;
END
$$""",
    ),
    Change(
        "functions/newest_audit_checkpoint",
        None,
        r"""-- Promises: when the newest checkpoint was made and whether it is signed; nulls where there is none. Called by `holdfast doctor`.
CREATE OR REPLACE FUNCTION newest_audit_checkpoint(OUT created_at timestamptz, OUT is_signed boolean)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  SELECT c.created_at, c.signature IS NOT NULL INTO created_at, is_signed
  FROM audit_checkpoints c
  ORDER BY c.number DESC
  LIMIT 1;
END
$$""",
    ),
    Change(
        "functions/prune_messages",
        None,
        r"""-- Promises: messages that are over are forgotten p_keep after they were made, at most p_limit a call; not those of a customer
-- under a legal hold. Called by the job processor. Locks: the messages it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_messages(
  p_limit integer, p_keep interval DEFAULT '365 days', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_pruned integer;
BEGIN
  DELETE FROM messages m
  WHERE m.id IN (
    SELECT o.id
    FROM messages o
    JOIN customers c ON c.id = o.customer_id
    WHERE o.created_at < p_now - p_keep AND o.status IN ('sent', 'failed', 'skipped') AND c.legal_hold_since IS NULL
    ORDER BY o.created_at
    LIMIT p_limit
    FOR UPDATE OF o SKIP LOCKED
  );
  GET DIAGNOSTICS v_pruned = ROW_COUNT;
  RETURN v_pruned;
END
$$""",
    ),
    Change(
        "functions/put_audit_checkpoint",
        None,
        r"""-- Promises: the checkpoint is on record with its heads and its signature, if what it states is still so and no other came first;
-- answers whether it is. Called by the making of checkpoints, with what draft_audit_checkpoint answered.
-- Locks: the table of checkpoints against other makers.
CREATE OR REPLACE FUNCTION put_audit_checkpoint(p_statement text, p_signature bytea)
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_states jsonb := p_statement::jsonb;
  v_up_to bigint := (v_states ->> 'up_to')::bigint;
  v_heads audit_heads[];
BEGIN
  LOCK TABLE audit_checkpoints IN SHARE ROW EXCLUSIVE MODE;
  v_heads := ARRAY(SELECT h FROM new_audit_heads(v_up_to) h);
  IF (v_states ->> 'number')::integer <> (SELECT COALESCE(max(c.number), 0) + 1 FROM audit_checkpoints c)
    OR v_states ->> 'digest' <> audit_digest(v_states ->> 'previous', v_heads)
  THEN
    RETURN false;
  END IF;

  INSERT INTO audit_checkpoints (number, up_to, digest, statement, signature)
  VALUES ((v_states ->> 'number')::integer, v_up_to, v_states ->> 'digest', p_statement, p_signature);
  INSERT INTO audit_heads (checkpoint, subject_type, subject_id, position, hash)
  SELECT h.checkpoint, h.subject_type, h.subject_id, h.position, h.hash
  FROM unnest(v_heads) h;
  RETURN true;
END
$$""",
    ),
    Change(
        "functions/put_legal_hold",
        None,
        r"""-- Promises: nobody erases the customer until the hold is taken away; one that is held already keeps its date. Called by
-- PUT /v1/customers/{ref}/legal-hold. Locks: the customer. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION put_legal_hold(
  p_actor jsonb, p_customer_ref text, p_reason text, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_customer := lock_customer(p_customer_ref);
  UPDATE customers c
  SET legal_hold_since = COALESCE(c.legal_hold_since, p_now), legal_hold_reason = p_reason, updated_at = p_now
  WHERE c.id = v_customer.id
  RETURNING * INTO v_customer;
  RETURN json_build_object(
    'customer_ref', v_customer.ref, 'since', v_customer.legal_hold_since, 'reason', v_customer.legal_hold_reason
  );
END
$$""",
    ),
    Change(
        "functions/redact_audit_log",
        None,
        r"""-- Promises: the trail says nothing personal of a customer: rows of the customer's own are emptied, and of what else came of the
-- same transactions and requests, or was done by the customer, where from and why. An entry of the trail names each of them and
-- the hash of what stands there now. Answers their ids. Called by erase_customer, with the customer's row locked.
CREATE OR REPLACE FUNCTION redact_audit_log(p_actor jsonb, p_customer customers, p_ref text)
RETURNS bigint[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_state jsonb := to_jsonb(p_customer) - '{name,email,phone}'::text[];
  v_own bigint[];
  v_erased audit_log[];
  v_entry_id bigint;
BEGIN
  v_own := ARRAY(SELECT a.id FROM audit_log a JOIN customer_subjects(p_customer.id) s USING (subject_type, subject_id));
  v_erased := ARRAY(
    SELECT erased_audit_entry(a, a.id = ANY (v_own))
    FROM audit_log a
    WHERE a.id = ANY (v_own) OR a.performed_by_id = 'customer:' || p_ref
      OR a.xid IN (SELECT o.xid FROM audit_log o WHERE o.id = ANY (v_own))
      OR a.request_id IN (SELECT o.request_id FROM audit_log o WHERE o.id = ANY (v_own))
    ORDER BY a.id
  );
  INSERT INTO audit_log (
    subject_type, subject_id, event, action_type, old_values, new_values, performed_by, performed_by_id, reason
  )
  SELECT 'customer', p_customer.id, 'customer.erased', 'erased', '{}', v_state || jsonb_build_object(
    'emptied', COALESCE(jsonb_object_agg(e.id, encode(audit_hash(e), 'hex')), '{}')
  ), p_actor ->> 'type', p_actor ->> 'id', p_actor ->> 'reason'
  FROM unnest(v_erased) e
  RETURNING id INTO v_entry_id;

  PERFORM set_config('holdfast.erasure', v_entry_id::text, true);
  UPDATE audit_log a
  SET old_values = e.old_values, new_values = e.new_values, performed_by_id = e.performed_by_id, reason = e.reason,
      ip_address = e.ip_address, user_agent = e.user_agent, request_id = e.request_id
  FROM unnest(v_erased) e
  WHERE a.id = e.id;
  RETURN ARRAY(SELECT e.id FROM unnest(v_erased) e);
END
$$""",
    ),
    Change(
        "functions/require_erasable",
        None,
        r"""-- Promises: returns only if the locked customer may be erased now: no legal hold, and nothing that is still to happen.
-- Called by erase_customer. Raises: SB035 legal_hold, SB036 customer_active.
CREATE OR REPLACE FUNCTION require_erasable(p_customer customers, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_bookings bigint := (
    SELECT count(*) FROM bookings b
    WHERE b.customer_id = p_customer.id AND b.status IN ('pending', 'confirmed') AND b.ends_at > p_now
  );
  v_prebookings bigint := (
    SELECT count(*) FROM prebookings p WHERE p.customer_id = p_customer.id AND p.status IN ('pending', 'executing')
  );
  v_entries bigint := (
    SELECT count(*) FROM waitlist_entries w WHERE w.customer_id = p_customer.id AND w.status IN ('waiting', 'offered')
  );
  v_auto_syncs bigint := (
    SELECT count(*) FROM auto_syncs a
    WHERE a.status IN ('running', 'paused') AND (
      a.organizer_id = p_customer.id
      OR EXISTS (
        SELECT FROM auto_sync_participants p
        WHERE p.auto_sync_id = a.id AND p.customer_id = p_customer.id AND p.removed_at IS NULL
      )
    )
  );
  v_messages bigint := (SELECT count(*) FROM messages m WHERE m.customer_id = p_customer.id AND m.status = 'sending');
BEGIN
  IF p_customer.legal_hold_since IS NOT NULL THEN
    RAISE EXCEPTION 'legal_hold' USING ERRCODE = 'SB035', DETAIL = json_build_object('since', p_customer.legal_hold_since);
  END IF;
  IF v_bookings + v_prebookings + v_entries + v_auto_syncs + v_messages > 0 THEN
    RAISE EXCEPTION 'customer_active' USING ERRCODE = 'SB036', DETAIL = json_build_object(
      'bookings', v_bookings, 'prebookings', v_prebookings, 'waitlist_entries', v_entries, 'auto_syncs', v_auto_syncs,
      'messages', v_messages
    );
  END IF;
END
$$""",
    ),
    Change(
        "functions/upsert_customer",
        r"""-- Promises: the id of the customer the caller means: the one with that ref, or a new one where no ref is given.
-- Called by create_booking_safe and import_booking. What is given replaces what was stored; what is absent stays.
-- Locks: the customer's row, only when it is new or something in it changes.
CREATE OR REPLACE FUNCTION upsert_customer(p_customer jsonb, p_now timestamptz DEFAULT now())
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_ref text := p_customer ->> 'ref';
  v_name text := p_customer ->> 'name';
  v_email text := p_customer ->> 'email';
  v_phone text := p_customer ->> 'phone';
  v_id uuid;
BEGIN
  -- a returning customer is the common case and must not write
  SELECT c.id INTO v_id
  FROM customers c
  WHERE c.ref = v_ref
    AND (v_name IS NULL OR c.name = v_name)
    AND (v_email IS NULL OR c.email = v_email)
    AND (v_phone IS NULL OR c.phone = v_phone);
  IF FOUND THEN
    RETURN v_id;
  END IF;

  INSERT INTO customers AS c (ref, name, email, phone, created_at, updated_at)
  VALUES (v_ref, v_name, v_email, v_phone, p_now, p_now)
  ON CONFLICT (ref) DO UPDATE
    SET name = COALESCE(EXCLUDED.name, c.name),
        email = COALESCE(EXCLUDED.email, c.email),
        phone = COALESCE(EXCLUDED.phone, c.phone),
        updated_at = EXCLUDED.updated_at
  RETURNING c.id INTO v_id;
  RETURN v_id;
END
$$""",
        r"""-- Promises: the id of the customer the caller means: the one with that ref, or a new one where no ref is given.
-- Called by create_booking_safe and import_booking. What is given replaces what was stored; what is absent stays.
-- Locks: the customer's row, against others only when it is new or something in it changes, and against being erased.
CREATE OR REPLACE FUNCTION upsert_customer(p_customer jsonb, p_now timestamptz DEFAULT now())
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_ref text := p_customer ->> 'ref';
  v_name text := p_customer ->> 'name';
  v_email text := p_customer ->> 'email';
  v_phone text := p_customer ->> 'phone';
  v_id uuid;
BEGIN
  -- a returning customer is the common case and must not write
  SELECT c.id INTO v_id
  FROM customers c
  WHERE c.ref = v_ref
    AND (v_name IS NULL OR c.name = v_name)
    AND (v_email IS NULL OR c.email = v_email)
    AND (v_phone IS NULL OR c.phone = v_phone)
  -- as the foreign key of what is made for it would a moment later: an erasure comes before or after, not between
  FOR KEY SHARE;
  IF FOUND THEN
    RETURN v_id;
  END IF;

  INSERT INTO customers AS c (ref, name, email, phone, created_at, updated_at)
  VALUES (v_ref, v_name, v_email, v_phone, p_now, p_now)
  ON CONFLICT (ref) DO UPDATE
    SET name = COALESCE(EXCLUDED.name, c.name),
        email = COALESCE(EXCLUDED.email, c.email),
        phone = COALESCE(EXCLUDED.phone, c.phone),
        updated_at = EXCLUDED.updated_at
  RETURNING c.id INTO v_id;
  RETURN v_id;
END
$$""",
    ),
    Change(
        "functions/verify_audit_log",
        None,
        r"""-- Promises: whether the audit trail is as it was written, as of one snapshot: how many rows, erasures and checkpoints there are,
-- how many faults, the first p_limit of them, and what the checkpoints state and who signed it, which only a key can verify.
-- Called by `holdfast audit verify`. Reads everything, writes nothing, and holds some bytes a row at most.
CREATE OR REPLACE FUNCTION verify_audit_log(p_limit integer DEFAULT 1000)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    WITH faults AS MATERIALIZED (
      SELECT DISTINCT f.*
      FROM (
        SELECT * FROM audit_chain_faults()
        UNION ALL
        SELECT * FROM audit_subject_faults()
        UNION ALL
        SELECT * FROM audit_checkpoint_faults()
      ) f
    )
    SELECT json_build_object(
      'entries', (SELECT count(*) FROM audit_log),
      'erasures', (SELECT count(*) FROM audit_log a WHERE a.event = 'customer.erased'),
      'fault_count', (SELECT count(*) FROM faults),
      'faults', COALESCE((
        SELECT json_agg(to_json(f))
        FROM (SELECT * FROM faults x ORDER BY x.subject_type, x.subject_id, x.audit_id, x.fault LIMIT p_limit) f
      ), '[]'),
      'checkpoints', COALESCE((
        SELECT json_agg(json_build_object(
          'number', c.number, 'statement', c.statement, 'signature', encode(c.signature, 'base64')
        ) ORDER BY c.number)
        FROM audit_checkpoints c
      ), '[]')
    )
  );
END
$$""",
    ),
    Change(
        "functions/without_personal_data",
        None,
        r"""-- Promises: the state of an audited row without what a customer or a frontend put into it; the rest as it was. Twice is once.
-- Called by erased_audit_entry. What erase_customer leaves of bookings, customers and prebookings looks the same.
CREATE OR REPLACE FUNCTION without_personal_data(p_state jsonb)
RETURNS jsonb
LANGUAGE plpgsql
IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN COALESCE((
    SELECT jsonb_object_agg(e.key, CASE
      WHEN e.key = 'metadata' THEN '{}'
      WHEN e.key IN ('ref', 'language', 'timezone', 'legal_hold_reason', 'detail', 'confirmation', 'check_detail') THEN 'null'
      -- a provider takes whatever it wants to know of a customer
      WHEN e.key = 'targets' AND p_state ->> 'provider' IS NOT NULL
        THEN (SELECT jsonb_agg('{}'::jsonb) FROM jsonb_array_elements(e.value))
      WHEN e.key = 'target' AND p_state ->> 'provider' IS NOT NULL THEN '{}'
      ELSE e.value
    END)
    FROM jsonb_each(p_state) e
  ), p_state);
END
$$""",
    ),
    Change(
        "functions/write_audit_log",
        r"""-- Promises: one audit row per changed row, with the state before and after and who did it, in the same transaction.
-- Called by the *_write_audit triggers with the subject's name and the columns that must not be copied here; with
-- `subject.action` where the row itself does not say what happened. An event also gets its transaction's number.
-- A write that did not come through an entry function is audited as what it is: the database user's own.
CREATE OR REPLACE FUNCTION write_audit_log()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- on a reused connection an unset setting reads '', not NULL
  v_actor jsonb := NULLIF(current_setting('holdfast.actor', true), '')::jsonb;
  v_old jsonb := to_jsonb(OLD);
  v_new jsonb := to_jsonb(NEW);
  v_subject text := split_part(TG_ARGV[0], '.', 1);
  v_action text := COALESCE(NULLIF(split_part(TG_ARGV[0], '.', 2), ''), audit_action(v_old, v_new));
  v_event text := v_subject || '.' || v_action;
  v_hidden text[] := TG_ARGV[1:];
  v_hidden_changes text[];
BEGIN
  IF TG_NARGS > 1 THEN
    v_hidden_changes := ARRAY(SELECT h FROM unnest(v_hidden) h WHERE v_old ->> h IS DISTINCT FROM v_new ->> h);
    v_old := v_old - v_hidden;
    v_new := v_new - v_hidden;
  END IF;

  INSERT INTO audit_log (
    subject_type, subject_id, event, action_type, old_values, new_values, hidden_changes,
    performed_by, performed_by_id, ip_address, user_agent, reason, request_id, xid
  )
  VALUES (
    v_subject,
    COALESCE(v_new ->> 'id', v_old ->> 'id', v_new ->> 'resource_id', v_old ->> 'resource_id', v_new ->> 'name',
      v_old ->> 'name'),
    v_event,
    v_action,
    v_old,
    v_new,
    v_hidden_changes,
    COALESCE(v_actor ->> 'type', 'database'),
    COALESCE(v_actor ->> 'id', session_user),
    (v_actor ->> 'ip')::inet,
    v_actor ->> 'user_agent',
    v_actor ->> 'reason',
    v_actor ->> 'request_id',
    CASE WHEN event_type(v_event) IS NOT NULL THEN pg_current_xact_id() END
  );
  RETURN NULL;
END
$$""",
        r"""-- Promises: one audit row per changed row, with the state before and after and who did it, in the same transaction.
-- Called by the *_write_audit triggers with the subject's name and the columns that must not be copied here; with
-- `subject.action` where the row itself does not say what happened. An event also gets its transaction's number.
-- A write that did not come through an entry function is audited as what it is: the database user's own.
CREATE OR REPLACE FUNCTION write_audit_log()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- on a reused connection an unset setting reads '', not NULL
  v_actor jsonb := NULLIF(current_setting('holdfast.actor', true), '')::jsonb;
  v_old jsonb := to_jsonb(OLD);
  v_new jsonb := to_jsonb(NEW);
  v_subject text := split_part(TG_ARGV[0], '.', 1);
  v_action text := COALESCE(NULLIF(split_part(TG_ARGV[0], '.', 2), ''), audit_action(v_old, v_new));
  v_event text := v_subject || '.' || v_action;
  v_hidden text[] := TG_ARGV[1:];
  v_hidden_changes text[];
BEGIN
  IF TG_NARGS > 1 THEN
    v_hidden_changes := ARRAY(SELECT h FROM unnest(v_hidden) h WHERE v_old ->> h IS DISTINCT FROM v_new ->> h);
    v_old := v_old - v_hidden;
    v_new := v_new - v_hidden;
  END IF;

  -- rows of one subject that have no row lock in common, as two dates of a resource, may come at once: who is second waits
  LOOP
    INSERT INTO audit_log (
      subject_type, subject_id, event, action_type, old_values, new_values, hidden_changes,
      performed_by, performed_by_id, ip_address, user_agent, reason, request_id, xid
    )
    VALUES (
      v_subject,
      COALESCE(v_new ->> 'id', v_old ->> 'id', v_new ->> 'resource_id', v_old ->> 'resource_id', v_new ->> 'name',
        v_old ->> 'name'),
      v_event,
      v_action,
      v_old,
      v_new,
      v_hidden_changes,
      COALESCE(v_actor ->> 'type', 'database'),
      COALESCE(v_actor ->> 'id', session_user),
      (v_actor ->> 'ip')::inet,
      v_actor ->> 'user_agent',
      v_actor ->> 'reason',
      v_actor ->> 'request_id',
      CASE WHEN event_type(v_event) IS NOT NULL THEN pg_current_xact_id() END
    )
    ON CONFLICT (subject_type, subject_id, position) DO NOTHING;
    EXIT WHEN FOUND;
  END LOOP;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "triggers/audit_checkpoints_refuse_change",
        None,
        r"""CREATE OR REPLACE TRIGGER audit_checkpoints_refuse_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_checkpoints
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/audit_heads_refuse_change",
        None,
        r"""CREATE OR REPLACE TRIGGER audit_heads_refuse_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_heads
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/audit_log_chain",
        None,
        r"""CREATE OR REPLACE TRIGGER audit_log_chain
BEFORE INSERT ON audit_log
FOR EACH ROW
EXECUTE FUNCTION audit_log_chain()""",
    ),
    Change(
        "triggers/audit_log_guard_update",
        None,
        r"""CREATE OR REPLACE TRIGGER audit_log_guard_update
BEFORE UPDATE ON audit_log
FOR EACH ROW
EXECUTE FUNCTION audit_log_guard_update()""",
    ),
    Change(
        "triggers/audit_log_refuse_change",
        r"""-- Append-only. Retention is the owner's deliberate act: disabling this trigger by name.
CREATE OR REPLACE TRIGGER audit_log_refuse_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
        r"""-- Append-only; audit_log_guard_update says of updates. Retention is the owner's deliberate act: disabling this by name.
CREATE OR REPLACE TRIGGER audit_log_refuse_change
BEFORE DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
