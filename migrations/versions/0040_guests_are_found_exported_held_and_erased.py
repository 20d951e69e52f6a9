"""Guests are found, exported, held and erased: the functions, and indexes built while everybody writes.

Revision ID: 0040
Revises: 0039
"""

from alembic import op

from migrations import frozen
from migrations.frozen import Change

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

INDEXES = {
    "customers_created_at_id_idx": "(created_at, id) WHERE erased_at IS NULL",
    "customers_email_idx": "(lower(email), created_at, id) WHERE email IS NOT NULL",
    "customers_phone_idx": "(phone, created_at, id) WHERE phone IS NOT NULL",
}

CHANGES = [
    Change(
        "functions/erase_customer",
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
  v_id uuid;
  v_ref text;
  v_customer customers;
  v_emptied bigint[];
BEGIN
  PERFORM set_config('holdfast.actor', v_actor::text, true);
  v_id := find_customer(p_customer_ref);
  PERFORM FROM crews w
  WHERE w.id IN (SELECT m.crew_id FROM crew_members m WHERE m.customer_id = v_id)
  ORDER BY w.id
  FOR NO KEY UPDATE;
  PERFORM FROM prebookings p WHERE p.customer_id = v_id ORDER BY p.id FOR UPDATE;
  -- a twin of this request waits here, and then finds nobody
  PERFORM FROM customers c WHERE c.id = v_id FOR UPDATE;
  body := replay_request(p_actor ->> 'id', 'erase_customer', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF replayed THEN
    RETURN NEXT;
    RETURN;
  END IF;
  v_customer := lock_customer('id:' || v_id);
  v_ref := v_customer.ref;
  PERFORM require_erasable(v_customer, p_now);
  IF p_idle_since IS NOT NULL AND NOT is_idle_customer(v_customer, p_idle_since) THEN
    RAISE EXCEPTION 'customer_active' USING ERRCODE = 'SB036', DETAIL = json_build_object('since', p_idle_since);
  END IF;

  PERFORM erase_customer_rows(v_customer.id, v_ref, p_now);
  UPDATE customers c
  SET ref = NULL, name = NULL, email = NULL, phone = NULL, language = NULL, timezone = NULL, erased_at = p_now,
      updated_at = p_now
  WHERE c.id = v_customer.id
  RETURNING * INTO v_customer;
  v_emptied := redact_audit_log(v_actor, v_customer, v_ref);
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
BEGIN
  IF NOT EXISTS (SELECT FROM customers c WHERE c.id = p_customer_id AND is_idle_customer(c, v_since)) THEN
    RETURN false;
  END IF;
  PERFORM erase_customer(
    p_actor, 'id:' || p_customer_id, 'nothing happened since ' || v_since::date, p_now => p_now, p_idle_since => v_since
  );
  RETURN true;
END
$$""",
    ),
    Change(
        "functions/export_customer",
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
  SELECT * INTO v_customer FROM customers c WHERE c.id = (SELECT find_customer(p_customer_ref));
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
        "functions/find_customer",
        None,
        r"""-- Promises: the id of the customer whom a path names: by `id:` and a UUID the one with that id, by anything else the one with
-- that ref; null where there is none, or it was erased. Called by erase_customer, export_customer and lock_customer.
CREATE OR REPLACE FUNCTION find_customer(p_customer text)
RETURNS uuid
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_id uuid := substring(p_customer FROM '^id:([[:xdigit:]]{8}(?:-[[:xdigit:]]{4}){3}-[[:xdigit:]]{12})$')::uuid;
BEGIN
  IF v_id IS NULL THEN
    RETURN (SELECT c.id FROM customers c WHERE c.ref = p_customer);
  END IF;
  RETURN (SELECT c.id FROM customers c WHERE c.id = v_id AND c.erased_at IS NULL);
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
    AND NOT EXISTS (SELECT FROM provider_credentials k WHERE k.customer_id = p_customer.id AND k.created_at >= p_since)
    AND NOT EXISTS (
      SELECT FROM calendar_feeds f
      WHERE f.customer_id = p_customer.id AND GREATEST(f.created_at, f.revoked_at) >= p_since
    );
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
  RETURN p_customer.erased_at IS NULL AND p_customer.legal_hold_since IS NULL AND p_customer.updated_at < p_since
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
        "functions/list_customers",
        None,
        r"""-- Promises: one page of the customers that pass every filter, newest first and how many bookings each has, and the next page's
-- cursor; none that was erased. An e-mail address is the same in capitals. Called by GET /v1/customers. Planned anew each
-- time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_customers(
  p_ref text DEFAULT NULL,
  p_email text DEFAULT NULL,
  p_phone text DEFAULT NULL,
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
  v_before record := read_cursor(p_cursor);
  v_page customers[];
BEGIN
  v_page := ARRAY(
    SELECT c
    FROM customers c
    WHERE c.erased_at IS NULL
      AND (p_cursor IS NULL OR (c.created_at, c.id) < (v_before.at, v_before.id))
      AND (p_ref IS NULL OR c.ref = p_ref)
      AND (p_email IS NULL OR lower(c.email) = lower(p_email))
      AND (p_phone IS NULL OR c.phone = p_phone)
    ORDER BY c.created_at DESC, c.id DESC
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(
          to_jsonb(c) - 'erased_at'
            || jsonb_build_object('bookings', (SELECT count(*) FROM bookings b WHERE b.customer_id = c.id))
          ORDER BY c.created_at DESC, c.id DESC
        )
        FROM unnest(v_page[:p_limit]) c
      ),
      '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/lock_customer",
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
        r"""-- Promises: the row of the customer whom find_customer finds, locked until the transaction ends against everything that names it.
-- Called by erase_customer, put_legal_hold and delete_legal_hold. Locks: the customer. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION lock_customer(p_customer_ref text)
RETURNS customers
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  SELECT * INTO v_customer
  FROM customers c
  -- an erasure that this waited for leaves the id as it was
  WHERE c.id = (SELECT find_customer(p_customer_ref)) AND c.erased_at IS NULL
  FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'customer_not_found' USING ERRCODE = 'SB037', DETAIL = '{}';
  END IF;
  RETURN v_customer;
END
$$""",
    ),
    Change(
        "functions/put_legal_hold",
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
    'customer_id', v_customer.id,
    'customer_ref', v_customer.ref,
    'since', v_customer.legal_hold_since,
    'reason', v_customer.legal_hold_reason
  );
END
$$""",
    ),
]


def upgrade() -> None:
    make_indexes()
    frozen.upgrade(CHANGES)


def make_indexes() -> None:
    if op.get_context().as_sql:
        # for an empty database, and in one transaction
        for name, what in INDEXES.items():
            op.execute(f"CREATE INDEX {name} ON customers {what}")
        return
    # outside a transaction the names are looked for elsewhere
    schema = op.get_context().version_table_schema
    with op.get_context().autocommit_block():
        for name, what in INDEXES.items():
            # of an attempt that came to nothing an index is left that nobody may use
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema}.{name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {schema}.customers {what}")


def downgrade() -> None:
    frozen.downgrade(CHANGES)
    for name in reversed(INDEXES):
        op.execute(f"DROP INDEX {name}")
