"""What is idle or old is forgotten.

Revision ID: 0033
Revises: 0032
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/enqueue_idle_customers",
        None,
        r"""-- Promises: customers with whom nothing happened for p_keep have a job that erases them, at most p_limit a call, one job each few
-- seconds, lest they are all at once. Looks at so many customers a minute, where the look before ended, and at all of them once
-- a day. Answers how many. Called by the job processor. Locks: their jobs.
CREATE OR REPLACE FUNCTION enqueue_idle_customers(p_limit integer, p_keep interval, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_run CONSTANT text := 'idle_customers';
  c_looked_at CONSTANT integer := 500;
  c_apart CONSTANT interval := interval '5 seconds';
  v_run job_runs;
  v_after uuid;
  v_rest interval;
  v_last uuid;
  v_idle uuid[];
BEGIN
  SELECT * INTO v_run FROM job_runs r WHERE r.instance_id = c_run;
  v_after := (v_run.report ->> 'after')::uuid;
  v_rest := CASE WHEN v_after IS NULL THEN interval '1 day' ELSE interval '1 minute' END;
  IF v_run.seen_at > p_now - v_rest THEN
    RETURN 0;
  END IF;

  WITH looked_at AS MATERIALIZED (
    SELECT c.id, is_idle_customer(c, p_now - p_keep) AS is_idle
    FROM customers c
    WHERE v_after IS NULL OR c.id > v_after
    ORDER BY c.id
    LIMIT c_looked_at
  ), chosen AS (
    SELECT l.id FROM looked_at l WHERE l.is_idle ORDER BY l.id LIMIT p_limit
  )
  SELECT
    ARRAY(SELECT h.id FROM chosen h ORDER BY h.id),
    CASE
      -- with as many as it may, the next look begins behind the last of them
      WHEN (SELECT count(*) FROM chosen) = p_limit THEN (SELECT h.id FROM chosen h ORDER BY h.id DESC LIMIT 1)
      WHEN (SELECT count(*) FROM looked_at) = c_looked_at THEN (SELECT l.id FROM looked_at l ORDER BY l.id DESC LIMIT 1)
    END
  INTO v_idle, v_last;

  PERFORM enqueue_job(
    'erase_idle_customer', jsonb_build_object('customer_id', i.id), p_now + (i.n - 1) * c_apart, i.id::text, 'privacy',
    p_now => p_now
  )
  FROM unnest(v_idle) WITH ORDINALITY i (id, n);
  PERFORM record_job_run(
    c_run, c_run, jsonb_build_object('after', v_last, 'found', cardinality(v_idle)), v_last IS NULL, p_now
  );
  RETURN cardinality(v_idle);
END
$$""",
    ),
    Change(
        "functions/erase_customer",
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
        r"""-- Promises: nothing that tells who the customer was is left in the database, and what it recounts and has on record stands: how
-- many bookings there were, when, and that they were this customer's. With p_idle_since, only if nothing happened since. Called by
-- POST /v1/customers/{ref}/erase and erase_idle_customer. Locks: crews, prebookings, customer, bookings, jobs. Raises: SB010
-- idempotency_conflict, SB035 legal_hold, SB036 customer_active, SB037 customer_not_found.
CREATE OR REPLACE FUNCTION erase_customer(
  p_actor jsonb, p_customer_ref text, p_reason text, p_idempotency_key text DEFAULT NULL, p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now(), p_idle_since timestamptz DEFAULT NULL
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
  IF p_idle_since IS NOT NULL AND NOT is_idle_customer(v_customer, p_idle_since) THEN
    RAISE EXCEPTION 'customer_active' USING ERRCODE = 'SB036', DETAIL = json_build_object('since', p_idle_since);
  END IF;

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
        "functions/erase_idle_customer",
        None,
        r"""-- Promises: the customer is erased, if nothing happened with them for p_keep up to now; false, and nothing done, if something did.
-- Called by the job of the same name. Locks: what erase_customer locks. Raises: SB035 legal_hold, SB036 customer_active, where that
-- came in the meantime.
CREATE OR REPLACE FUNCTION erase_idle_customer(
  p_actor jsonb, p_customer_id uuid, p_keep interval, p_now timestamptz DEFAULT now()
)
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_since timestamptz := p_now - p_keep;
  v_ref text := (SELECT c.ref FROM customers c WHERE c.id = p_customer_id AND is_idle_customer(c, v_since));
BEGIN
  IF v_ref IS NULL THEN
    RETURN false;
  END IF;
  PERFORM erase_customer(p_actor, v_ref, 'nothing happened since ' || v_since::date, p_now => p_now, p_idle_since => v_since);
  RETURN true;
END
$$""",
    ),
    Change(
        "functions/forget_provider_answers",
        None,
        r"""-- Promises: what providers said of prebookings, confirmations included, is forgotten p_keep after the prebookings were over, at
-- most p_limit rows a call; not of a customer under a legal hold. That they were asked, and what came of it, stays. Called by the
-- job processor. Locks: the prebookings or attempts that it empties, SKIP LOCKED.
CREATE OR REPLACE FUNCTION forget_provider_answers(
  p_actor jsonb, p_limit integer, p_keep interval DEFAULT '365 days', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_forgotten integer;
  v_attempts integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE prebookings p SET detail = NULL, confirmation = NULL
  WHERE p.id IN (
    SELECT o.id
    FROM prebookings o
    JOIN customers c ON c.id = o.customer_id
    WHERE o.status IN ('succeeded', 'failed', 'cancelled') AND (o.detail IS NOT NULL OR o.confirmation IS NOT NULL)
      AND o.updated_at < p_now - p_keep AND c.legal_hold_since IS NULL
    ORDER BY o.updated_at
    LIMIT p_limit
    FOR UPDATE OF o SKIP LOCKED
  );
  GET DIAGNOSTICS v_forgotten = ROW_COUNT;
  UPDATE prebooking_attempts a SET detail = NULL, confirmation = NULL
  WHERE a.id IN (
    SELECT o.id
    FROM prebooking_attempts o
    JOIN prebookings p ON p.id = o.prebooking_id
    JOIN customers c ON c.id = p.customer_id
    WHERE (o.detail IS NOT NULL OR o.confirmation IS NOT NULL) AND o.started_at < p_now - p_keep
      AND p.status IN ('succeeded', 'failed', 'cancelled') AND p.updated_at < p_now - p_keep AND c.legal_hold_since IS NULL
    ORDER BY o.started_at
    LIMIT p_limit - v_forgotten
    FOR UPDATE OF o SKIP LOCKED
  );
  GET DIAGNOSTICS v_attempts = ROW_COUNT;
  RETURN v_forgotten + v_attempts;
END
$$""",
    ),
    Change(
        "functions/is_idle_customer",
        None,
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
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
