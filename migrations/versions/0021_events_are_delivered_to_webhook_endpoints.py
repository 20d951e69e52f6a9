"""events are delivered to webhook endpoints.

Revision ID: 0021
Revises: 0020
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/create_webhook_endpoint",
        None,
        r"""-- Promises: from now on the events that the endpoint wants are delivered there, signed with this secret.
-- Called by POST /v1/webhook-endpoints, with what it encrypted for that id.
CREATE OR REPLACE FUNCTION create_webhook_endpoint(
  p_actor jsonb,
  p_endpoint_id uuid,
  p_url text,
  p_event_types text[],
  p_description text,
  p_key_id text,
  p_nonce bytea,
  p_ciphertext bytea,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (endpoint_id uuid, endpoint_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO webhook_endpoints (id, url, event_types, description, created_at, updated_at)
  VALUES (p_endpoint_id, p_url, p_event_types, p_description, p_now, p_now)
  RETURNING * INTO v_endpoint;
  INSERT INTO webhook_secrets (endpoint_id, key_id, nonce, ciphertext, created_at)
  VALUES (p_endpoint_id, p_key_id, p_nonce, p_ciphertext, p_now);
  RETURN QUERY SELECT v_endpoint.id, v_endpoint.version, webhook_endpoint_json(v_endpoint);
END
$$""",
    ),
    Change(
        "functions/deliver_event",
        None,
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
    ),
    Change(
        "functions/delivery_json",
        None,
        r"""-- Promises: the one JSON shape of a delivery. Called by the functions that answer deliveries.
CREATE OR REPLACE FUNCTION delivery_json(p_delivery deliveries)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_delivery.id,
    'endpoint_id', p_delivery.endpoint_id,
    'event_id', 'evt_' || p_delivery.audit_id,
    'event_type', p_delivery.event_type,
    'status', p_delivery.status,
    'attempt_count', p_delivery.attempts,
    'last_status', p_delivery.last_status,
    'last_duration_ms', p_delivery.last_duration_ms,
    'last_answer', p_delivery.last_answer,
    'last_error', p_delivery.last_error,
    'next_attempt_at', (
      SELECT j.run_at
      FROM jobs j
      WHERE j.dedupe_key = p_delivery.id::text AND j.job_type = 'deliver_webhook' AND j.status = 'pending'
    ),
    'created_at', p_delivery.created_at,
    'updated_at', p_delivery.updated_at
  );
END
$$""",
    ),
    Change(
        "functions/delivery_request",
        None,
        r"""-- Promises: what a delivery sends, where to, and the secrets that sign it as they are stored, the newest five; no row where
-- nothing is to be sent: it is delivered, or the endpoint is disabled and this is no test. Called by the handler.
CREATE OR REPLACE FUNCTION delivery_request(p_delivery_id uuid, p_now timestamptz DEFAULT now())
RETURNS TABLE (url text, event_id text, body json, key_ids text[], nonces bytea[], ciphertexts bytea[])
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT e.url, 'evt_' || a.id, event_json(a, c.ref), s.key_ids, s.nonces, s.ciphertexts
  FROM deliveries d
  JOIN webhook_endpoints e ON e.id = d.endpoint_id
  JOIN audit_log a ON a.id = d.audit_id
  LEFT JOIN customers c ON c.id = (a.new_values ->> 'customer_id')::uuid
  CROSS JOIN LATERAL (
    SELECT array_agg(n.key_id) AS key_ids, array_agg(n.nonce) AS nonces, array_agg(n.ciphertext) AS ciphertexts
    FROM (
      SELECT w.key_id, w.nonce, w.ciphertext
      FROM webhook_secrets w
      WHERE w.endpoint_id = d.endpoint_id AND (w.expires_at IS NULL OR w.expires_at > p_now)
      ORDER BY w.created_at DESC, w.id
      LIMIT 5
    ) n
  ) s
  WHERE d.id = p_delivery_id AND d.status <> 'delivered' AND (e.is_enabled OR d.event_type = 'webhook_endpoint.tested')
$$""",
    ),
    Change(
        "functions/disable_webhook_endpoint",
        None,
        r"""-- Promises: nothing is delivered to the endpoint any more, for this reason; one that is disabled stays as it is.
-- Called by DELETE /v1/webhook-endpoints/{id} and end_delivery, whose transaction says who acts.
-- Locks: endpoint. Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION disable_webhook_endpoint(
  p_actor jsonb, p_endpoint_id uuid, p_reason text DEFAULT 'by_hand', p_now timestamptz DEFAULT now()
)
RETURNS TABLE (endpoint_id uuid, endpoint_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints := lock_webhook_endpoint(p_endpoint_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF v_endpoint.is_enabled THEN
    UPDATE webhook_endpoints e
    SET is_enabled = false, disabled_reason = p_reason, version = e.version + 1, updated_at = p_now
    WHERE e.id = p_endpoint_id
    RETURNING * INTO v_endpoint;
  END IF;
  RETURN QUERY SELECT v_endpoint.id, v_endpoint.version, webhook_endpoint_json(v_endpoint);
END
$$""",
    ),
    Change(
        "functions/end_delivery",
        None,
        r"""-- Promises: what came of an attempt is on record: the event is delivered if p_error is null. An endpoint that is gone (410),
-- or has failed for five days without a success and this delivery three times, is disabled.
-- Called by the handler; what is to be done further is up to the job. Locks: delivery, endpoint.
CREATE OR REPLACE FUNCTION end_delivery(
  p_actor jsonb,
  p_delivery_id uuid,
  p_status integer,
  p_duration_ms integer,
  p_answer text,
  p_error text,
  p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_delivery deliveries;
  v_is_delivered boolean := p_error IS NULL;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE deliveries d
  SET status = CASE WHEN v_is_delivered THEN 'delivered' ELSE d.status END,
      attempts = d.attempts + 1,
      last_status = p_status,
      last_duration_ms = p_duration_ms,
      last_answer = p_answer,
      last_error = p_error,
      updated_at = p_now
  WHERE d.id = p_delivery_id
  RETURNING * INTO v_delivery;
  INSERT INTO delivery_attempts (delivery_id, attempt, status, duration_ms, answer, error, ended_at)
  VALUES (p_delivery_id, v_delivery.attempts, p_status, p_duration_ms, p_answer, p_error, p_now);

  -- most find nothing to change, so that those to one endpoint do not queue for its row
  UPDATE webhook_endpoints e
  SET failing_since = CASE WHEN NOT v_is_delivered THEN p_now END
  WHERE e.id = v_delivery.endpoint_id AND (e.failing_since IS NULL) <> v_is_delivered;
  PERFORM disable_webhook_endpoint(p_actor, e.id, CASE p_status WHEN 410 THEN 'gone' ELSE 'failing' END, p_now)
  FROM webhook_endpoints e
  WHERE e.id = v_delivery.endpoint_id AND e.is_enabled AND NOT v_is_delivered
    AND (p_status = 410 OR e.failing_since <= p_now - interval '5 days' AND v_delivery.attempts >= 3);
END
$$""",
    ),
    Change(
        "functions/enqueue_delivery",
        None,
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
    ),
    Change(
        "functions/event_type",
        r"""-- Promises: the name under which an audit row is told outside, or null for what is not told: one line a subject.
-- Called by write_audit_log, which marks such rows as events, and by event_json.
CREATE OR REPLACE FUNCTION event_type(p_event text)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE split_part(p_event, '.', 1)
  WHEN 'booking' THEN p_event
  WHEN 'prebooking' THEN p_event
  WHEN 'schedule' THEN 'schedule.changed'
  WHEN 'schedule_exception' THEN 'schedule.changed'
  ELSE CASE WHEN p_event IN ('slot.full', 'credentials.invalid') THEN p_event END
END""",
        r"""-- Promises: the name under which an audit row is told outside, or null for what is not told: one line a subject.
-- Called by write_audit_log, which marks such rows as events, and by event_json.
CREATE OR REPLACE FUNCTION event_type(p_event text)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE split_part(p_event, '.', 1)
  WHEN 'booking' THEN p_event
  WHEN 'prebooking' THEN p_event
  WHEN 'schedule' THEN 'schedule.changed'
  WHEN 'schedule_exception' THEN 'schedule.changed'
  ELSE CASE
    WHEN p_event IN ('slot.full', 'credentials.invalid', 'webhook_endpoint.disabled', 'webhook_endpoint.tested')
      THEN p_event
  END
END""",
    ),
    Change(
        "functions/get_delivery",
        None,
        r"""-- Promises: one delivery with every attempt at it, oldest first. Called by GET /v1/deliveries/{id}.
-- Raises: SB028 delivery_not_found.
CREATE OR REPLACE FUNCTION get_delivery(p_delivery_id uuid)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_delivery deliveries;
BEGIN
  SELECT * INTO v_delivery FROM deliveries d WHERE d.id = p_delivery_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'delivery_not_found' USING ERRCODE = 'SB028',
      DETAIL = json_build_object('delivery_id', p_delivery_id);
  END IF;
  RETURN to_jsonb(delivery_json(v_delivery)) || jsonb_build_object('attempts', (
    SELECT COALESCE(jsonb_agg(to_jsonb(a) - 'delivery_id' ORDER BY a.attempt), '[]')
    FROM delivery_attempts a
    WHERE a.delivery_id = p_delivery_id
  ));
END
$$""",
    ),
    Change(
        "functions/get_webhook_endpoint",
        None,
        r"""-- Promises: one webhook endpoint as the API answers it. Called by GET /v1/webhook-endpoints/{id}.
-- Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION get_webhook_endpoint(p_endpoint_id uuid)
RETURNS TABLE (endpoint_id uuid, endpoint_version integer, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY SELECT e.id, e.version, webhook_endpoint_json(e) FROM webhook_endpoints e WHERE e.id = p_endpoint_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'webhook_endpoint_not_found' USING ERRCODE = 'SB027',
      DETAIL = json_build_object('endpoint_id', p_endpoint_id);
  END IF;
END
$$""",
    ),
    Change(
        "functions/jobs_end_delivery",
        None,
        r"""-- Promises: a delivery whose job is over without it has failed, or is cancelled where nothing was to be sent any more.
-- Called by trigger jobs_end_delivery, whoever ends the job. Locks: delivery.
CREATE OR REPLACE FUNCTION jobs_end_delivery()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  UPDATE deliveries d
  SET status = CASE NEW.status WHEN 'discarded' THEN 'failed' ELSE 'cancelled' END, updated_at = NEW.updated_at
  WHERE d.id = NEW.dedupe_key::uuid AND d.status = 'pending'
    -- another that waits in its place will see to it
    AND NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = NEW.dedupe_key AND j.job_type = NEW.job_type AND j.status = 'pending'
    );
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/list_deliveries",
        None,
        r"""-- Promises: one page of the deliveries that pass every filter, in order of creation, and the next page's cursor or null.
-- Called by GET /v1/deliveries. Planned anew each time: the filters decide which index serves.
CREATE OR REPLACE FUNCTION list_deliveries(
  p_endpoint_id uuid DEFAULT NULL,
  p_status text DEFAULT NULL,
  p_event_type text DEFAULT NULL,
  p_limit integer DEFAULT 50,
  p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page deliveries[];
BEGIN
  v_page := ARRAY(
    SELECT d
    FROM deliveries d
    WHERE (d.created_at, d.id) > (v_after.at, v_after.id)
      AND (p_endpoint_id IS NULL OR d.endpoint_id = p_endpoint_id)
      AND (p_status IS NULL OR d.status = p_status)
      AND (p_event_type IS NULL OR d.event_type = p_event_type)
    ORDER BY d.created_at, d.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (SELECT json_agg(delivery_json(d) ORDER BY d.created_at, d.id) FROM unnest(v_page[:p_limit]) d), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/list_webhook_endpoints",
        None,
        r"""-- Promises: every webhook endpoint, in order of creation. Called by GET /v1/webhook-endpoints.
CREATE OR REPLACE FUNCTION list_webhook_endpoints()
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object('items', COALESCE(
    (SELECT json_agg(webhook_endpoint_json(e) ORDER BY e.created_at, e.id) FROM webhook_endpoints e), '[]'
  ));
END
$$""",
    ),
    Change(
        "functions/lock_webhook_endpoint",
        None,
        r"""-- Promises: the endpoint's row, locked until the transaction ends. Called by the functions that change one.
-- Locks: endpoint. Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION lock_webhook_endpoint(p_endpoint_id uuid)
RETURNS webhook_endpoints
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints;
BEGIN
  SELECT * INTO v_endpoint FROM webhook_endpoints e WHERE e.id = p_endpoint_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'webhook_endpoint_not_found' USING ERRCODE = 'SB027',
      DETAIL = json_build_object('endpoint_id', p_endpoint_id);
  END IF;
  RETURN v_endpoint;
END
$$""",
    ),
    Change(
        "functions/old_webhook_secrets",
        None,
        r"""-- Promises: the webhook secrets that are not under the key p_key_id. Called by `holdfast keys rotate`.
CREATE OR REPLACE FUNCTION old_webhook_secrets(p_key_id text)
RETURNS TABLE (secret_id uuid, endpoint_id uuid, key_id text, nonce bytea, ciphertext bytea)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT s.id, s.endpoint_id, s.key_id, s.nonce, s.ciphertext FROM webhook_secrets s WHERE s.key_id <> p_key_id
$$""",
    ),
    Change(
        "functions/prune_deliveries",
        None,
        r"""-- Promises: deliveries that are over are forgotten after p_keep, with their attempts; at most p_limit a call.
-- Called by the job processor. Locks: the deliveries it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_deliveries(
  p_limit integer, p_keep interval DEFAULT '30 days', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_old uuid[];
BEGIN
  v_old := ARRAY(
    SELECT d.id
    FROM deliveries d
    WHERE d.status <> 'pending' AND d.updated_at < p_now - p_keep
    ORDER BY d.updated_at
    LIMIT p_limit
    FOR UPDATE SKIP LOCKED
  );
  DELETE FROM delivery_attempts a WHERE a.delivery_id = ANY (v_old);
  DELETE FROM deliveries d WHERE d.id = ANY (v_old);
  RETURN cardinality(v_old);
END
$$""",
    ),
    Change(
        "functions/replay_delivery",
        None,
        r"""-- Promises: the event is delivered to the endpoint once more, as soon as may be. Called by POST /v1/deliveries/{id}/replay.
-- Locks: delivery, job. Raises: SB028 delivery_not_found, SB029 webhook_endpoint_disabled.
CREATE OR REPLACE FUNCTION replay_delivery(
  p_actor jsonb, p_delivery_id uuid, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_delivery deliveries;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_delivery(p_delivery_id);
  SELECT * INTO v_delivery FROM deliveries d WHERE d.id = p_delivery_id;
  PERFORM require_enabled_endpoint(v_delivery.endpoint_id);
  PERFORM enqueue_delivery(v_delivery.endpoint_id, v_delivery.audit_id, v_delivery.event_type, p_now);
  RETURN get_delivery(p_delivery_id);
END
$$""",
    ),
    Change(
        "functions/replay_events",
        None,
        r"""-- Promises: every event of [p_from, p_to) that the endpoint wants is delivered to it, whether it was before or not; p_limit
-- at most, and `next_from` is where to go on, or null. Called by POST /v1/webhook-endpoints/{id}/replay.
-- Locks: deliveries and jobs, by event. Raises: SB027 webhook_endpoint_not_found, SB029 webhook_endpoint_disabled.
CREATE OR REPLACE FUNCTION replay_events(
  p_actor jsonb,
  p_endpoint_id uuid,
  p_from timestamptz,
  p_to timestamptz,
  p_limit integer DEFAULT 5000,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_types text[] := (require_enabled_endpoint(p_endpoint_id)).event_types;
  v_wanted audit_log[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_wanted := ARRAY(
    SELECT a
    FROM audit_log a
    WHERE a.xid IS NOT NULL AND a.created_at >= p_from AND a.created_at < p_to
      AND (v_types IS NULL OR event_type(a.event) = ANY (v_types)) AND a.event <> 'webhook_endpoint.tested'
    ORDER BY a.created_at, a.id
    LIMIT p_limit + 1
  );
  PERFORM enqueue_delivery(p_endpoint_id, w.id, event_type(w.event), p_now) FROM unnest(v_wanted[:p_limit]) w
  ORDER BY w.id;
  RETURN json_build_object(
    'replayed', LEAST(cardinality(v_wanted), p_limit), 'next_from', v_wanted[p_limit + 1].created_at
  );
END
$$""",
    ),
    Change(
        "functions/require_enabled_endpoint",
        None,
        r"""-- Promises: the endpoint, and returns only if it is enabled. Called by replay_delivery and replay_events.
-- Raises: SB027 webhook_endpoint_not_found, SB029 webhook_endpoint_disabled.
CREATE OR REPLACE FUNCTION require_enabled_endpoint(p_endpoint_id uuid)
RETURNS webhook_endpoints
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints;
BEGIN
  PERFORM get_webhook_endpoint(p_endpoint_id);
  SELECT * INTO v_endpoint FROM webhook_endpoints e WHERE e.id = p_endpoint_id;
  IF NOT v_endpoint.is_enabled THEN
    RAISE EXCEPTION 'webhook_endpoint_disabled' USING ERRCODE = 'SB029',
      DETAIL = json_build_object('endpoint_id', p_endpoint_id, 'disabled_reason', v_endpoint.disabled_reason);
  END IF;
  RETURN v_endpoint;
END
$$""",
    ),
    Change(
        "functions/reseal_webhook_secret",
        None,
        r"""-- Promises: the webhook secret is under the key p_key_id, unless its ciphertext is not the one that was read; answers
-- whether it is. Called by `holdfast keys rotate`. Locks: secret.
CREATE OR REPLACE FUNCTION reseal_webhook_secret(
  p_actor jsonb, p_secret_id uuid, p_old_nonce bytea, p_key_id text, p_nonce bytea, p_ciphertext bytea
)
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- a nonce is never used twice, so it stands for its ciphertext
  UPDATE webhook_secrets s
  SET key_id = p_key_id, nonce = p_nonce, ciphertext = p_ciphertext
  WHERE s.id = p_secret_id AND s.nonce = p_old_nonce;
  RETURN FOUND;
END
$$""",
    ),
    Change(
        "functions/rotate_webhook_secret",
        None,
        r"""-- Promises: the endpoint has this secret; those it had sign beside it until p_overlap is over, or their own end comes.
-- Called by POST /v1/webhook-endpoints/{id}/rotate-secret, with what it encrypted for that id.
-- Locks: endpoint, secrets. Raises: SB027 webhook_endpoint_not_found.
CREATE OR REPLACE FUNCTION rotate_webhook_secret(
  p_actor jsonb,
  p_endpoint_id uuid,
  p_key_id text,
  p_nonce bytea,
  p_ciphertext bytea,
  p_overlap interval DEFAULT '24 hours',
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints := lock_webhook_endpoint(p_endpoint_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE webhook_secrets s
  SET expires_at = p_now + p_overlap
  WHERE s.endpoint_id = p_endpoint_id AND s.expires_at IS NULL;
  INSERT INTO webhook_secrets (endpoint_id, key_id, nonce, ciphertext, created_at)
  VALUES (p_endpoint_id, p_key_id, p_nonce, p_ciphertext, p_now);
  RETURN webhook_endpoint_json(v_endpoint);
END
$$""",
    ),
    Change(
        "functions/test_webhook_endpoint",
        None,
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
    ),
    Change(
        "functions/update_webhook_endpoint",
        None,
        r"""-- Promises: what p_changes names replaces what was stored, if nobody changed the endpoint since the caller read it; one that
-- is enabled again begins anew. Called by PATCH /v1/webhook-endpoints/{id}.
-- Locks: endpoint. Raises: SB027 webhook_endpoint_not_found, SB006 version_conflict.
CREATE OR REPLACE FUNCTION update_webhook_endpoint(
  p_actor jsonb, p_endpoint_id uuid, p_version integer, p_changes jsonb, p_now timestamptz DEFAULT now()
)
RETURNS TABLE (endpoint_id uuid, endpoint_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_endpoint webhook_endpoints := lock_webhook_endpoint(p_endpoint_id);
  v_new webhook_endpoints := jsonb_populate_record(v_endpoint, p_changes);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF v_endpoint.version <> p_version THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('endpoint_id', p_endpoint_id, 'current_version', v_endpoint.version);
  END IF;

  UPDATE webhook_endpoints e
  SET url = v_new.url,
      event_types = v_new.event_types,
      description = v_new.description,
      is_enabled = v_new.is_enabled,
      disabled_reason = CASE WHEN NOT v_new.is_enabled THEN COALESCE(e.disabled_reason, 'by_hand') END,
      failing_since = CASE WHEN e.is_enabled OR NOT v_new.is_enabled THEN e.failing_since END,
      version = e.version + 1,
      updated_at = p_now
  WHERE e.id = p_endpoint_id
  RETURNING * INTO v_endpoint;
  RETURN QUERY SELECT v_endpoint.id, v_endpoint.version, webhook_endpoint_json(v_endpoint);
END
$$""",
    ),
    Change(
        "functions/webhook_endpoint_json",
        None,
        r"""-- Promises: the one JSON shape of a webhook endpoint, without its secrets.
-- Called by the functions that answer endpoints.
CREATE OR REPLACE FUNCTION webhook_endpoint_json(p_endpoint webhook_endpoints)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_endpoint.id,
    'url', p_endpoint.url,
    'event_types', p_endpoint.event_types,
    'description', p_endpoint.description,
    'is_enabled', p_endpoint.is_enabled,
    'disabled_reason', p_endpoint.disabled_reason,
    'failing_since', p_endpoint.failing_since,
    'version', p_endpoint.version,
    'created_at', p_endpoint.created_at,
    'updated_at', p_endpoint.updated_at
  );
END
$$""",
    ),
    Change(
        "functions/webhook_secrets_by_key",
        None,
        r"""-- Promises: how many webhook secrets are under each key. Called by `holdfast keys rotate` and `holdfast doctor`.
CREATE OR REPLACE FUNCTION webhook_secrets_by_key()
RETURNS TABLE (key_id text, secrets bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT s.key_id, count(*) FROM webhook_secrets s GROUP BY s.key_id ORDER BY s.key_id
$$""",
    ),
    Change(
        "triggers/audit_log_deliver_event",
        None,
        r"""-- Events alone: nothing else is delivered.
CREATE OR REPLACE TRIGGER audit_log_deliver_event
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (NEW.xid IS NOT NULL)
EXECUTE FUNCTION deliver_event()""",
    ),
    Change(
        "triggers/deliveries_write_audit",
        None,
        r"""-- What a person asks for again; what becomes of it by itself is in delivery_attempts.
CREATE OR REPLACE TRIGGER deliveries_write_audit
AFTER UPDATE OF status ON deliveries
FOR EACH ROW
WHEN (OLD.status <> 'pending' AND NEW.status = 'pending')
EXECUTE FUNCTION write_audit_log('delivery.replayed', 'last_answer', 'last_error')""",
    ),
    Change(
        "triggers/jobs_end_delivery",
        None,
        r"""CREATE OR REPLACE TRIGGER jobs_end_delivery
AFTER UPDATE OF status ON jobs
FOR EACH ROW
WHEN (NEW.job_type = 'deliver_webhook' AND NEW.status IN ('discarded', 'skipped', 'cancelled'))
EXECUTE FUNCTION jobs_end_delivery()""",
    ),
    Change(
        "triggers/webhook_endpoints_write_audit_on_insert",
        None,
        r"""-- An address may hold what lets in whoever knows it, and the trail is read by more than admins.
CREATE OR REPLACE TRIGGER webhook_endpoints_write_audit_on_insert
AFTER INSERT ON webhook_endpoints
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('webhook_endpoint', 'url')""",
    ),
    Change(
        "triggers/webhook_endpoints_write_audit_on_update",
        None,
        r"""-- Not that it fails or works again, which its deliveries tell; and disabling has a name of its own.
CREATE OR REPLACE TRIGGER webhook_endpoints_write_audit_on_update
AFTER UPDATE OF url, event_types, description, is_enabled ON webhook_endpoints
FOR EACH ROW
WHEN (NOT OLD.is_enabled OR NEW.is_enabled)
EXECUTE FUNCTION write_audit_log('webhook_endpoint', 'url')""",
    ),
    Change(
        "triggers/webhook_endpoints_write_audit_when_disabled",
        None,
        r"""CREATE OR REPLACE TRIGGER webhook_endpoints_write_audit_when_disabled
AFTER UPDATE OF is_enabled ON webhook_endpoints
FOR EACH ROW
WHEN (OLD.is_enabled AND NOT NEW.is_enabled)
EXECUTE FUNCTION write_audit_log('webhook_endpoint.disabled', 'url')""",
    ),
    Change(
        "triggers/webhook_endpoints_write_audit_when_tested",
        None,
        r"""-- The event that is delivered as a test.
CREATE OR REPLACE TRIGGER webhook_endpoints_write_audit_when_tested
AFTER UPDATE OF tested_at ON webhook_endpoints
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('webhook_endpoint.tested', 'url')""",
    ),
    Change(
        "triggers/webhook_secrets_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER webhook_secrets_write_audit
AFTER INSERT OR UPDATE OR DELETE ON webhook_secrets
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('webhook_secret', 'nonce', 'ciphertext')""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
