"""Keys of what is audited row by row grow at their end, the trail's too; an event is told by the statement that records it.

Revision ID: 0041
Revises: 0040
"""

import sqlalchemy as sa
from alembic import op

from migrations import frozen
from migrations.frozen import Change

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

# of slots a schedule makes a year at once, and audits none
TABLES = ("bookings", "customers", "waitlist_entries", "prebookings", "deliveries")

LEAVES = """
  SELECT t.relid::regclass::text AS leaf, i.indexrelid::regclass::text AS old,
    -- the table that was the whole trail once has its indexes' names still
    regexp_replace(p.relname, '_pkey$', '') || '{suffix}' AS name
  FROM pg_partition_tree('{schema}.audit_log') t
  JOIN pg_index k ON k.indrelid = t.relid AND k.indisprimary
  JOIN pg_class p ON p.oid = k.indexrelid
  JOIN pg_index i ON i.indrelid = t.relid
  JOIN pg_class x ON x.oid = i.indexrelid
  JOIN pg_am m ON m.oid = x.relam
  WHERE t.isleaf AND (i.indkey[0], m.amname) = (
    SELECT a.attnum, '{method}' FROM pg_attribute a WHERE a.attrelid = t.relid AND a.attname = 'request_id'
  )
"""
# for an empty database, and in one transaction
AT_ONCE = """
DO $$
DECLARE
  v_leaf record;
BEGIN
  FOR v_leaf IN {leaves} LOOP
    EXECUTE format('DROP INDEX %s', v_leaf.old);
    EXECUTE format('CREATE INDEX %s ON %s {what}', v_leaf.name, v_leaf.leaf);
  END LOOP;
END
$$
"""
HASH = ("_request_id_idx", "USING hash (request_id)")
# callers may name their requests, and all alike: among equal ones a hash looks for room from the first on
BTREE = ("_request_idx", "(request_id, created_at)")

CHANGES = [
    Change(
        "functions/audit_log_make_messages",
        r"""-- Promises: whoever booked is told what changed, by a message made in the transaction of the change, whoever made it.
-- Called by trigger audit_log_make_messages for events.
CREATE OR REPLACE FUNCTION audit_log_make_messages()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_template text;
BEGIN
  IF NOT EXISTS (SELECT FROM message_channels h WHERE h.is_enabled) THEN
    RETURN NULL;
  END IF;
  v_template := message_template(NEW.event, NEW.new_values);
  IF v_template IS NOT NULL THEN
    PERFORM make_messages(
      v_template,
      (NEW.new_values ->> 'customer_id')::uuid,
      NEW.subject_type,
      NEW.subject_id::uuid,
      'evt_' || NEW.id,
      NEW.new_values ->> 'status',
      CASE NEW.subject_type WHEN 'booking' THEN (NEW.new_values ->> 'starts_at')::timestamptz END,
      NEW.created_at
    );
  END IF;
  RETURN NULL;
END
$$""",
        None,
    ),
    Change(
        "functions/deliver_event",
        r"""-- Promises: an event has a delivery for each enabled endpoint that wants it, in the event's own transaction; a test has one
-- for the endpoint that is tested, whatever it wants. Called by trigger audit_log_deliver_event.
CREATE OR REPLACE FUNCTION deliver_event()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint_id uuid;
BEGIN
  -- a tenth of what the look below costs, for those who have no webhooks
  IF NOT EXISTS (SELECT FROM webhook_endpoints) THEN
    RETURN NULL;
  END IF;

  FOR v_endpoint_id IN
    SELECT e.id
    FROM webhook_endpoints e
    WHERE CASE NEW.event
      WHEN 'webhook_endpoint.tested' THEN e.id::text = NEW.subject_id
      ELSE e.is_enabled AND (e.event_types IS NULL OR event_type(NEW.event) = ANY (e.event_types))
    END
    ORDER BY e.id
  LOOP
    PERFORM enqueue_delivery(v_endpoint_id, NEW.id, event_type(NEW.event), NEW.created_at);
  END LOOP;
  RETURN NULL;
END
$$""",
        None,
    ),
    Change(
        "functions/enqueue_deliveries",
        None,
        r"""-- Promises: an event has a delivery for each enabled endpoint that wants it, in the event's own transaction; a test has one
-- for the endpoint that is tested, whatever it wants. Called by write_audit_log.
CREATE OR REPLACE FUNCTION enqueue_deliveries(p_event audit_log)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_type text := event_type(p_event.event);
BEGIN
  PERFORM enqueue_delivery(e.id, p_event.id, v_type, p_event.created_at)
  FROM (
    SELECT e.id
    FROM webhook_endpoints e
    WHERE CASE p_event.event
      WHEN 'webhook_endpoint.tested' THEN e.id::text = p_event.subject_id
      ELSE e.is_enabled AND (e.event_types IS NULL OR v_type = ANY (e.event_types))
    END
    ORDER BY e.id
  ) e;
END
$$""",
    ),
    Change(
        "functions/enqueue_delivery",
        r"""-- Promises: the event is delivered to the endpoint, as soon as may be, whether it was before or not; answers the
-- delivery's id. Called by deliver_event, replay_delivery and replay_events. Locks: delivery, job.
CREATE OR REPLACE FUNCTION enqueue_delivery(
  p_endpoint_id uuid, p_audit_id bigint, p_event_type text, p_now timestamptz DEFAULT now()
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_delivery_id uuid;
BEGIN
  INSERT INTO deliveries AS d (endpoint_id, audit_id, event_type, created_at, updated_at)
  VALUES (p_endpoint_id, p_audit_id, p_event_type, p_now, p_now)
  ON CONFLICT (endpoint_id, audit_id) DO UPDATE SET status = 'pending', updated_at = EXCLUDED.updated_at
  RETURNING d.id INTO v_delivery_id;
  PERFORM enqueue_job(
    'deliver_webhook',
    jsonb_build_object('delivery_id', v_delivery_id, 'endpoint_id', p_endpoint_id),
    p_dedupe_key => v_delivery_id::text,
    p_queue => 'webhooks',
    p_max_attempts => CASE p_event_type WHEN 'webhook_endpoint.tested' THEN 1 ELSE 10 END,
    p_now => p_now
  );
  RETURN v_delivery_id;
END
$$""",
        r"""-- Promises: the event is delivered to the endpoint, as soon as may be, whether it was before or not; answers the
-- delivery's id. Called by enqueue_deliveries, replay_delivery and replay_events. Locks: delivery, job.
CREATE OR REPLACE FUNCTION enqueue_delivery(
  p_endpoint_id uuid, p_audit_id bigint, p_event_type text, p_now timestamptz DEFAULT now()
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_delivery_id uuid;
BEGIN
  INSERT INTO deliveries AS d (endpoint_id, audit_id, event_type, created_at, updated_at)
  VALUES (p_endpoint_id, p_audit_id, p_event_type, p_now, p_now)
  ON CONFLICT (endpoint_id, audit_id) DO UPDATE SET status = 'pending', updated_at = EXCLUDED.updated_at
  RETURNING d.id INTO v_delivery_id;
  PERFORM enqueue_job(
    'deliver_webhook',
    jsonb_build_object('delivery_id', v_delivery_id, 'endpoint_id', p_endpoint_id),
    p_dedupe_key => v_delivery_id::text,
    p_queue => 'webhooks',
    p_max_attempts => CASE p_event_type WHEN 'webhook_endpoint.tested' THEN 1 ELSE 10 END,
    p_now => p_now
  );
  RETURN v_delivery_id;
END
$$""",
    ),
    Change(
        "functions/make_event_messages",
        None,
        r"""-- Promises: whoever booked is told what changed, by a message made in the transaction of the change, whoever made it.
-- Called by write_audit_log for events.
CREATE OR REPLACE FUNCTION make_event_messages(p_event audit_log)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_template text := message_template(p_event.event, p_event.new_values);
BEGIN
  IF v_template IS NOT NULL THEN
    PERFORM make_messages(
      v_template,
      (p_event.new_values ->> 'customer_id')::uuid,
      p_event.subject_type,
      p_event.subject_id::uuid,
      'evt_' || p_event.id,
      p_event.new_values ->> 'status',
      CASE p_event.subject_type WHEN 'booking' THEN (p_event.new_values ->> 'starts_at')::timestamptz END,
      p_event.created_at
    );
  END IF;
END
$$""",
    ),
    Change(
        "functions/make_messages",
        r"""-- Promises: a message on each enabled channel on which the customer can and wants to be reached, with the job that sends
-- it, in the caller's transaction; once under a key, however often it is asked for.
-- Called by audit_log_make_messages and remind_due_bookings. Locks: none but its own new rows.
CREATE OR REPLACE FUNCTION make_messages(
  p_template text,
  p_customer_id uuid,
  p_subject_type text,
  p_subject_id uuid,
  p_dedupe_key text,
  p_told_status text,
  p_told_starts_at timestamptz,
  p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_message_id uuid;
  v_channel text;
BEGIN
  FOR v_message_id, v_channel IN
    INSERT INTO messages (
      customer_id, channel, template, subject_type, subject_id, told_status, told_starts_at, dedupe_key, created_at,
      updated_at
    )
    SELECT c.id, h.name, p_template, p_subject_type, p_subject_id, p_told_status, p_told_starts_at, p_dedupe_key, p_now,
      p_now
    FROM message_channels h
    JOIN customers c ON c.id = p_customer_id
    WHERE h.is_enabled AND CASE h.name
      WHEN 'email' THEN c.email IS NOT NULL AND NOT c.email_opt_out
      ELSE c.phone IS NOT NULL AND NOT c.sms_opt_out
    END
    ON CONFLICT (dedupe_key, channel) DO NOTHING
    RETURNING id, channel
  LOOP
    PERFORM enqueue_job(
      'send_message', jsonb_build_object('message_id', v_message_id, 'channel', v_channel), p_now, v_message_id::text,
      'messages',
      p_booking_id => CASE p_subject_type WHEN 'booking' THEN p_subject_id END, p_now => p_now
    );
  END LOOP;
END
$$""",
        r"""-- Promises: a message on each enabled channel on which the customer can and wants to be reached, with the job that sends
-- it, in the caller's transaction; once under a key, however often it is asked for.
-- Called by make_event_messages and remind_due_bookings. Locks: none but its own new rows.
CREATE OR REPLACE FUNCTION make_messages(
  p_template text,
  p_customer_id uuid,
  p_subject_type text,
  p_subject_id uuid,
  p_dedupe_key text,
  p_told_status text,
  p_told_starts_at timestamptz,
  p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_message_id uuid;
  v_channel text;
BEGIN
  FOR v_message_id, v_channel IN
    INSERT INTO messages (
      customer_id, channel, template, subject_type, subject_id, told_status, told_starts_at, dedupe_key, created_at,
      updated_at
    )
    SELECT c.id, h.name, p_template, p_subject_type, p_subject_id, p_told_status, p_told_starts_at, p_dedupe_key, p_now,
      p_now
    FROM message_channels h
    JOIN customers c ON c.id = p_customer_id
    WHERE h.is_enabled AND CASE h.name
      WHEN 'email' THEN c.email IS NOT NULL AND NOT c.email_opt_out
      ELSE c.phone IS NOT NULL AND NOT c.sms_opt_out
    END
    ON CONFLICT (dedupe_key, channel) DO NOTHING
    RETURNING id, channel
  LOOP
    PERFORM enqueue_job(
      'send_message', jsonb_build_object('message_id', v_message_id, 'channel', v_channel), p_now, v_message_id::text,
      'messages',
      p_booking_id => CASE p_subject_type WHEN 'booking' THEN p_subject_id END, p_now => p_now
    );
  END LOOP;
END
$$""",
    ),
    Change(
        "functions/message_template",
        r"""-- Promises: the template of the message that tells a customer of an audited change, or null where nobody is told: one line
-- an event. Called by audit_log_make_messages, with the row as it was after the change.
CREATE OR REPLACE FUNCTION message_template(p_event text, p_values jsonb)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
  -- whoever was imported has been told elsewhere
  WHEN p_event = 'booking.created' AND p_values ->> 'external_id' IS NOT NULL THEN NULL
  WHEN p_event = 'booking.created' AND p_values ->> 'status' = 'confirmed' THEN 'booking_confirmed'
  WHEN p_event = 'booking.created' AND p_values ->> 'status' = 'pending' THEN 'booking_held'
  WHEN p_event IN ('booking.confirmed', 'booking.rescheduled', 'booking.cancelled') THEN replace(p_event, '.', '_')
  WHEN p_event IN ('booking.expired', 'booking.failed') THEN 'booking_expired'
  -- at a resource of ours the booking tells it
  WHEN p_event = 'prebooking.succeeded' AND p_values ->> 'provider' IS NOT NULL THEN 'prebooking_succeeded'
  -- of one that a person has to look at nobody knows whether it failed
  WHEN p_event = 'prebooking.failed' AND p_values ->> 'needs_attention' = 'false' THEN 'prebooking_failed'
END""",
        r"""-- Promises: the template of the message that tells a customer of an audited change, or null where nobody is told: one line
-- an event. Called by make_event_messages, with the row as it was after the change.
CREATE OR REPLACE FUNCTION message_template(p_event text, p_values jsonb)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
  -- whoever was imported has been told elsewhere
  WHEN p_event = 'booking.created' AND p_values ->> 'external_id' IS NOT NULL THEN NULL
  WHEN p_event = 'booking.created' AND p_values ->> 'status' = 'confirmed' THEN 'booking_confirmed'
  WHEN p_event = 'booking.created' AND p_values ->> 'status' = 'pending' THEN 'booking_held'
  WHEN p_event IN ('booking.confirmed', 'booking.rescheduled', 'booking.cancelled') THEN replace(p_event, '.', '_')
  WHEN p_event IN ('booking.expired', 'booking.failed') THEN 'booking_expired'
  -- at a resource of ours the booking tells it
  WHEN p_event = 'prebooking.succeeded' AND p_values ->> 'provider' IS NOT NULL THEN 'prebooking_succeeded'
  -- of one that a person has to look at nobody knows whether it failed
  WHEN p_event = 'prebooking.failed' AND p_values ->> 'needs_attention' = 'false' THEN 'prebooking_failed'
END""",
    ),
    Change(
        "functions/redact_audit_log",
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
  v_ids bigint[];
  v_erased audit_log[];
  v_entry_id bigint;
BEGIN
  -- each by its index: what an erasure reads grows with the customer's rows, not with the trail
  v_own := ARRAY(SELECT * FROM customer_audit_entries(p_customer.id));
  v_ids := ARRAY(
    SELECT unnest(v_own)
    UNION
    SELECT a.id FROM audit_log a WHERE a.performed_by_id LIKE 'customer:%' AND a.performed_by_id = 'customer:' || p_ref
    UNION
    SELECT a.id FROM audit_log a WHERE a.xid = ANY (ARRAY(SELECT o.xid FROM audit_log o WHERE o.id = ANY (v_own)))
    UNION
    SELECT a.id FROM audit_log a
    WHERE a.request_id = ANY (ARRAY(SELECT o.request_id FROM audit_log o WHERE o.id = ANY (v_own)))
  );
  v_erased := ARRAY(
    SELECT erased_audit_entry(a, a.id = ANY (v_own)) FROM audit_log a WHERE a.id = ANY (v_ids) ORDER BY a.id
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
      ip_address = e.ip_address, user_agent = e.user_agent, request_id = e.request_id, address_salt = NULL, address_hash = NULL
  FROM unnest(v_erased) e
  WHERE a.id = e.id AND a.created_at = e.created_at;
  RETURN ARRAY(SELECT e.id FROM unnest(v_erased) e);
END
$$""",
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
  v_ids bigint[];
  v_erased audit_log[];
  v_entry_id bigint;
BEGIN
  -- each by its index: what an erasure reads grows with the customer's rows, not with the trail
  v_own := ARRAY(SELECT * FROM customer_audit_entries(p_customer.id));
  v_ids := ARRAY(
    SELECT unnest(v_own)
    UNION
    SELECT a.id FROM audit_log a WHERE a.performed_by_id LIKE 'customer:%' AND a.performed_by_id = 'customer:' || p_ref
    UNION
    SELECT a.id FROM audit_log a WHERE a.xid = ANY (ARRAY(SELECT o.xid FROM audit_log o WHERE o.id = ANY (v_own)))
    UNION
    -- a caller may name all its requests alike: those of another time are others
    SELECT r.id
    FROM audit_log o
    CROSS JOIN LATERAL (
      SELECT a.id
      FROM audit_log a
      WHERE a.request_id = o.request_id
        AND a.created_at BETWEEN o.created_at - interval '1 hour' AND o.created_at + interval '1 hour'
      OFFSET 0
    ) r
    WHERE o.id = ANY (v_own)
  );
  v_erased := ARRAY(
    SELECT erased_audit_entry(a, a.id = ANY (v_own)) FROM audit_log a WHERE a.id = ANY (v_ids) ORDER BY a.id
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
      ip_address = e.ip_address, user_agent = e.user_agent, request_id = e.request_id, address_salt = NULL, address_hash = NULL
  FROM unnest(v_erased) e
  WHERE a.id = e.id AND a.created_at = e.created_at;
  RETURN ARRAY(SELECT e.id FROM unnest(v_erased) e);
END
$$""",
    ),
    Change(
        "functions/test_webhook_endpoint",
        r"""-- Promises: an event that says so is delivered to this endpoint alone, enabled or not, at once and with one attempt; its
-- delivery is answered. Called by POST /v1/webhook-endpoints/{id}/test.
-- Locks: endpoint, job. Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION test_webhook_endpoint(
  p_actor jsonb, p_endpoint_id uuid, p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints := lock_webhook_endpoint(p_endpoint_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- webhook_endpoints_write_audit_when_tested and audit_log_deliver_event do the rest
  UPDATE webhook_endpoints e SET tested_at = p_now WHERE e.id = v_endpoint.id;
  RETURN (
    SELECT delivery_json(d)
    FROM deliveries d
    WHERE d.endpoint_id = p_endpoint_id AND d.event_type = 'webhook_endpoint.tested'
    ORDER BY d.audit_id DESC
    LIMIT 1
  );
END
$$""",
        r"""-- Promises: an event that says so is delivered to this endpoint alone, enabled or not, at once and with one attempt; its
-- delivery is answered. Called by POST /v1/webhook-endpoints/{id}/test.
-- Locks: endpoint, job. Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION test_webhook_endpoint(
  p_actor jsonb, p_endpoint_id uuid, p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints := lock_webhook_endpoint(p_endpoint_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- webhook_endpoints_write_audit_when_tested does the rest
  UPDATE webhook_endpoints e SET tested_at = p_now WHERE e.id = v_endpoint.id;
  RETURN (
    SELECT delivery_json(d)
    FROM deliveries d
    WHERE d.endpoint_id = p_endpoint_id AND d.event_type = 'webhook_endpoint.tested'
    ORDER BY d.audit_id DESC
    LIMIT 1
  );
END
$$""",
    ),
    Change(
        "functions/time_ordered_uuid",
        r"""-- Promises: a UUID that sorts by the moment it was made, to the microsecond (RFC 9562, version 7 with the fraction of the
-- millisecond in rand_a), so that a table's key grows at its end. Called as the default of jobs.id.
CREATE OR REPLACE FUNCTION time_ordered_uuid(p_now timestamptz DEFAULT clock_timestamp())
RETURNS uuid
LANGUAGE sql
VOLATILE PARALLEL SAFE
RETURN (
  SELECT encode(
    int8send((t.us / 1000) << 16 | 28672 | t.us % 1000 * 4096 / 1000) || substring(uuid_send(gen_random_uuid()) FROM 9),
    'hex'
  )::uuid
  FROM (SELECT (extract(epoch FROM p_now) * 1000000)::bigint AS us) t
)""",
        r"""-- Promises: a UUID that sorts by the moment it was made, to the microsecond (RFC 9562, version 7 with the fraction of the
-- millisecond in rand_a), so that a table's key grows at its end. Called as the default of ids.
CREATE OR REPLACE FUNCTION time_ordered_uuid(p_now timestamptz DEFAULT clock_timestamp())
RETURNS uuid
LANGUAGE sql
VOLATILE PARALLEL SAFE
RETURN (
  SELECT encode(
    int8send((t.us / 1000) << 16 | 28672 | t.us % 1000 * 4096 / 1000) || substring(uuid_send(gen_random_uuid()) FROM 9),
    'hex'
  )::uuid
  FROM (SELECT (extract(epoch FROM p_now) * 1000000)::bigint AS us) t
)""",
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
-- `subject.action` where the row itself does not say what happened. An event also gets its transaction's number, and is told.
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
  v_subject text := TG_ARGV[0];
  v_action text := 'created';
  v_event text;
  v_hidden text[];
  v_hidden_changes text[];
  v_id bigint;
  v_created_at timestamptz;
  v_is_told boolean;
BEGIN
  -- most rows are of something new: what need not be asked of them is not made ready either, which takes longer than asking
  IF TG_OP <> 'INSERT' THEN
    v_subject := split_part(TG_ARGV[0], '.', 1);
    v_action := COALESCE(NULLIF(split_part(TG_ARGV[0], '.', 2), ''), audit_action(v_old, v_new));
  END IF;
  v_event := v_subject || '.' || v_action;
  IF TG_NARGS > 1 THEN
    v_hidden := TG_ARGV[1:];
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
  )
  -- asked here: a trigger of the trail that finds nobody to tell costs as much as an index
  RETURNING id, created_at, xid IS NOT NULL
    AND (EXISTS (SELECT FROM webhook_endpoints) OR EXISTS (SELECT FROM message_channels h WHERE h.is_enabled))
  INTO v_id, v_created_at, v_is_told;

  IF v_is_told THEN
    PERFORM enqueue_deliveries(a), make_event_messages(a)
    FROM audit_log a
    WHERE a.id = v_id AND a.created_at = v_created_at;
  END IF;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "triggers/audit_log_deliver_event",
        r"""-- Events alone: nothing else is delivered.
CREATE OR REPLACE TRIGGER audit_log_deliver_event
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (NEW.xid IS NOT NULL)
EXECUTE FUNCTION deliver_event()""",
        None,
    ),
    Change(
        "triggers/audit_log_make_messages",
        r"""-- Events alone: nobody is told of anything else. Which of them have a template the function knows: a list of them here, as any
-- text in a condition, would be read anew with every row.
CREATE OR REPLACE TRIGGER audit_log_make_messages
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (NEW.xid IS NOT NULL)
EXECUTE FUNCTION audit_log_make_messages()""",
        None,
    ),
]


def upgrade() -> None:
    swap_indexes("hash", BTREE)
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN id SET DEFAULT time_ordered_uuid()")
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    # first, as on the way up: it commits, and what comes after is one transaction or nothing
    swap_indexes("btree", HASH)
    frozen.downgrade(CHANGES)
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN id SET DEFAULT gen_random_uuid()")


def swap_indexes(method: str, wanted: tuple[str, str]) -> None:
    """For each partition's index of that method on request_id another one, built while everybody writes."""
    suffix, what = wanted
    schema = op.get_context().version_table_schema
    leaves = LEAVES.format(schema=schema, method=method, suffix=suffix)
    if op.get_context().as_sql:
        op.execute(AT_ONCE.format(leaves=leaves, what=what))
        return
    with op.get_context().autocommit_block():
        # asked anew, for a month may have been made meanwhile, after the old pattern
        while leaf := op.get_bind().execute(sa.text(leaves)).first():
            # of an attempt that came to nothing an index is left that nobody may use
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema}.{leaf.name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {leaf.name} ON {leaf.leaf} {what}")
            op.execute(f"DROP INDEX CONCURRENTLY {leaf.old}")
