"""functions and triggers.

Revision ID: 0002
Revises: 0001
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/add_slots",
        None,
        r"""-- Promises: every given slot exists afterwards; one that existed with these times stays as it is and counts as kept.
-- Called by POST /v1/resources/{id}/slots. Raises: SB009 resource_not_found.
CREATE OR REPLACE FUNCTION add_slots(
  p_actor jsonb, p_resource_id uuid, p_slots jsonb, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_created uuid[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM FROM resources r WHERE r.id = p_resource_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'resource_not_found' USING ERRCODE = 'SB009',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;

  WITH created AS (
    INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings, max_units, created_at, updated_at)
    SELECT p_resource_id, g.starts_at, g.ends_at, g.max_bookings, g.max_units, p_now, p_now
    FROM jsonb_to_recordset(p_slots) AS g (
      starts_at timestamptz, ends_at timestamptz, max_bookings integer, max_units integer
    )
    -- in one order for everyone, so that two such calls wait for each other instead of deadlocking
    ORDER BY g.starts_at, g.ends_at
    ON CONFLICT (resource_id, starts_at, ends_at) DO NOTHING
    RETURNING id
  )
  SELECT COALESCE(array_agg(id), '{}') INTO v_created FROM created;

  RETURN json_build_object(
    'created', cardinality(v_created),
    'kept', jsonb_array_length(p_slots) - cardinality(v_created),
    'slots', (
      SELECT COALESCE(json_agg(slot_json(s, 1, p_now) ORDER BY s.starts_at, s.ends_at), '[]')
      FROM slots s
      JOIN (
        SELECT DISTINCT g.starts_at, g.ends_at
        FROM jsonb_to_recordset(p_slots) AS g (starts_at timestamptz, ends_at timestamptz)
      ) AS given ON (s.starts_at, s.ends_at) = (given.starts_at, given.ends_at)
      WHERE s.resource_id = p_resource_id
    )
  );
END
$$""",
    ),
    Change(
        "functions/audit_action",
        None,
        r"""-- Promises: the word for what happened to a row, from its state before and after: created, deleted, the status it
-- took, rescheduled, or modified. Called by write_audit_log; the events of webhooks and streams use the same words.
CREATE OR REPLACE FUNCTION audit_action(p_old jsonb, p_new jsonb)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN CASE
    WHEN p_old IS NULL THEN 'created'
    WHEN p_new IS NULL THEN 'deleted'
    WHEN p_old ->> 'status' <> p_new ->> 'status' THEN p_new ->> 'status'
    WHEN p_old ->> 'slot_id' <> p_new ->> 'slot_id' THEN 'rescheduled'
    ELSE 'modified'
  END;
END
$$""",
    ),
    Change(
        "functions/available_slots",
        None,
        r"""-- Promises: the slots of a resource that start in [p_from, p_to), with the times in that zone, legacy ones hidden.
-- Called by GET /v1/available-slots. Raises: SB009 resource_not_found, 22023 for an unknown time zone.
CREATE OR REPLACE FUNCTION available_slots(
  p_resource_id uuid,
  p_from timestamptz,
  p_to timestamptz,
  p_tz text DEFAULT NULL,
  p_units integer DEFAULT 1,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_timezone text;
BEGIN
  SELECT r.timezone INTO v_timezone FROM resources r WHERE r.id = p_resource_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'resource_not_found' USING ERRCODE = 'SB009',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;

  -- JSON renders timestamptz in the transaction's zone: the offset comes out right for each date
  PERFORM set_config('TimeZone', COALESCE(p_tz, v_timezone), true);
  RETURN json_build_object(
    'resource_id', p_resource_id,
    'timezone', COALESCE(p_tz, v_timezone),
    'slots', COALESCE(
      (
        SELECT json_agg(slot_json(s, p_units, p_now) ORDER BY s.starts_at, s.ends_at)
        FROM slots s
        WHERE s.resource_id = p_resource_id
          AND s.starts_at >= p_from AND s.starts_at < p_to
          AND NOT s.is_legacy
      ),
      '[]'
    )
  );
END
$$""",
    ),
    Change(
        "functions/booking_history",
        None,
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
    SELECT json_agg(to_json(a) ORDER BY a.id)
    FROM audit_log a
    WHERE a.subject_type = 'booking' AND a.subject_id = p_booking_id::text
  ));
END
$$""",
    ),
    Change(
        "functions/booking_json",
        None,
        r"""-- Promises: the one JSON shape of a booking, as the API answers it and as idempotent replays repeat it.
-- Called by every function that answers a booking. Holds no personal data beyond the caller's own customer ref.
CREATE OR REPLACE FUNCTION booking_json(p_booking bookings, p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_booking.id,
    'reference', p_booking.reference,
    'resource_id', p_booking.resource_id,
    'slot_id', p_booking.slot_id,
    'customer_ref', p_customer_ref,
    'status', p_booking.status,
    'units', p_booking.units,
    'payment_method', p_booking.payment_method,
    'payment_status', p_booking.payment_status,
    'starts_at', p_booking.starts_at,
    'ends_at', p_booking.ends_at,
    'expires_at', p_booking.expires_at,
    'external_id', p_booking.external_id,
    'version', p_booking.version,
    'metadata', p_booking.metadata,
    'created_at', p_booking.created_at,
    'updated_at', p_booking.updated_at
  );
END
$$""",
    ),
    Change(
        "functions/booking_reference",
        None,
        r"""-- Promises: a short reference a person can read out, unlike its neighbours; never the same for two numbers below 2^35.
-- Called by the default of bookings.reference. Multiplying by an odd number permutes the residues of a power of two,
-- so uniqueness comes from the sequence and needs no retry. A reference names a booking; it is not a secret.
CREATE OR REPLACE FUNCTION booking_reference(p_number bigint)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE STRICT PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  -- Crockford's base 32: no I, L, O, U, so nothing is misread aloud
  v_alphabet constant text := '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  v_scrambled bigint := (((p_number & 34359738367)::numeric * 22695477001) % 34359738368)::bigint;
  v_reference text := '';
BEGIN
  FOR v_digit IN 0..6 LOOP
    v_reference := substr(v_alphabet, ((v_scrambled >> (5 * v_digit)) & 31)::integer + 1, 1) || v_reference;
  END LOOP;
  RETURN v_reference;
END
$$""",
    ),
    Change(
        "functions/bookings_count_places",
        None,
        r"""-- Promises: a slot's booked_bookings and booked_units always equal the bookings that hold a place in it.
-- Called by triggers bookings_count_places_on_insert and _on_update, whoever writes. The CHECKs on slots then refuse
-- one too many. Locks: slots (whoever moves bookings between slots locks both first, by id).
CREATE OR REPLACE FUNCTION bookings_count_places()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF OLD.holds_place THEN
    UPDATE slots s
    SET booked_bookings = s.booked_bookings - 1, booked_units = s.booked_units - OLD.units
    WHERE s.id = OLD.slot_id;
  END IF;
  IF NEW.holds_place THEN
    UPDATE slots s
    SET booked_bookings = s.booked_bookings + 1, booked_units = s.booked_units + NEW.units
    WHERE s.id = NEW.slot_id;
  END IF;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/bookings_guard_update",
        None,
        r"""-- Promises: a booking's status only takes a step that booking_transitions lists, and every change grows its version.
-- Only a hold has an expiry. A move counts from now, so that bookings_not_in_past_check refuses one into a slot that has begun.
-- Called by trigger bookings_guard_update, whoever writes. Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION bookings_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF NEW.status <> OLD.status THEN
    PERFORM require_transition(OLD.id, OLD.status, NEW.status);
  END IF;
  IF NEW.status <> 'pending' THEN
    NEW.expires_at := NULL;
  END IF;
  IF NEW.slot_id <> OLD.slot_id AND NEW.placed_at = OLD.placed_at THEN
    NEW.placed_at := now();
  END IF;
  IF NEW.updated_at = OLD.updated_at THEN
    NEW.updated_at := now();
  END IF;
  NEW.version := OLD.version + 1;
  RETURN NEW;
END
$$""",
    ),
    Change(
        "functions/bookings_sync_jobs",
        None,
        r"""-- Promises: a confirmed booking has one pending job that completes it at its end, a hold has one that expires it,
-- any other booking has none. Called by triggers bookings_sync_jobs_on_insert and _on_update, whoever writes.
-- Locks: jobs of this booking. No NOTIFY: it would serialise commits.
CREATE OR REPLACE FUNCTION bookings_sync_jobs()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_wanted text := CASE NEW.status WHEN 'confirmed' THEN 'complete_booking' WHEN 'pending' THEN 'expire_booking' END;
  v_due_at timestamptz := CASE NEW.status WHEN 'confirmed' THEN NEW.ends_at ELSE NEW.expires_at END;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    UPDATE jobs j
    SET
      -- a job whose booking got where it was to be taken is done; one whose booking went elsewhere is moot
      status = CASE
        WHEN j.job_type = 'complete_booking' AND NEW.status = 'completed' THEN 'processed'
        WHEN j.job_type = 'expire_booking' AND NEW.status = 'expired' THEN 'processed'
        ELSE 'cancelled'
      END,
      processed_at = NEW.updated_at,
      updated_at = NEW.updated_at
    WHERE j.dedupe_key = NEW.id::text AND j.status = 'pending' AND j.job_type IS DISTINCT FROM v_wanted;
  END IF;

  IF v_wanted IS NOT NULL THEN
    INSERT INTO jobs AS j (job_type, dedupe_key, booking_id, scheduled_at, run_at, created_at, updated_at)
    VALUES (v_wanted, NEW.id::text, NEW.id, v_due_at, v_due_at, NEW.updated_at, NEW.updated_at)
    ON CONFLICT (job_type, dedupe_key) WHERE status = 'pending' DO UPDATE
      SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at;
  END IF;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/cancel_booking",
        None,
        r"""-- Promises: the booking is cancelled and its place is free again, or nothing changed.
-- Called by POST /v1/bookings/{id}/cancel. Locks: slot, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict.
CREATE OR REPLACE FUNCTION cancel_booking(
  p_actor jsonb,
  p_booking_id uuid,
  p_version integer,
  p_reason text DEFAULT NULL,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (booking_id uuid, booking_version integer, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', (p_actor || jsonb_build_object('reason', p_reason))::text, true);
  v_booking := lock_booking(p_booking_id);

  body := replay_request(p_actor ->> 'id', 'cancel_booking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_transition(p_booking_id, v_booking.status, 'cancelled');

    UPDATE bookings b
    SET status = 'cancelled', updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'cancel_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/complete_due_bookings",
        None,
        r"""-- Promises: confirmed bookings whose end has passed become completed, each once, however many callers run at once.
-- Called by the job processor. Picks by job, oldest first; the jobs settle by trigger in the same transaction.
-- Locks: bookings alone, SKIP LOCKED: it waits for no customer, and holds nothing of a booking it passed by.
CREATE OR REPLACE FUNCTION complete_due_bookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_completed integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  WITH due AS MATERIALIZED (
    SELECT b.id
    FROM jobs j
    JOIN bookings b ON b.id = j.booking_id
    WHERE j.job_type = 'complete_booking' AND j.status = 'pending' AND j.run_at <= p_now
      AND b.status = 'confirmed' AND b.ends_at <= p_now
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF b SKIP LOCKED
  )
  UPDATE bookings b
  SET status = 'completed', updated_at = p_now
  FROM due
  WHERE b.id = due.id;
  GET DIAGNOSTICS v_completed = ROW_COUNT;
  RETURN v_completed;
END
$$""",
    ),
    Change(
        "functions/confirm_booking",
        None,
        r"""-- Promises: the hold is a confirmed booking, paid or not, or nothing changed.
-- Called by POST /v1/bookings/{id}/confirm. Locks: slot, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict.
CREATE OR REPLACE FUNCTION confirm_booking(
  p_actor jsonb,
  p_booking_id uuid,
  p_version integer,
  p_reason text DEFAULT NULL,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (booking_id uuid, booking_version integer, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', (p_actor || jsonb_build_object('reason', p_reason))::text, true);
  v_booking := lock_booking(p_booking_id);

  body := replay_request(p_actor ->> 'id', 'confirm_booking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_transition(p_booking_id, v_booking.status, 'confirmed');
    PERFORM require_place(v_booking, p_now);

    UPDATE bookings b
    SET status = 'confirmed', updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'confirm_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/create_api_key",
        None,
        r"""-- Promises: a key is known by its hash alone. Called by `holdfast keys create`. Raises: 23514 for an unknown scope.
CREATE OR REPLACE FUNCTION create_api_key(
  p_actor jsonb, p_name text, p_prefix text, p_key_hash bytea, p_scopes text[], p_now timestamptz DEFAULT now()
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_id uuid;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO api_keys (name, prefix, key_hash, scopes, created_at)
  VALUES (p_name, p_prefix, p_key_hash, p_scopes, p_now)
  RETURNING id INTO v_id;
  RETURN v_id;
END
$$""",
    ),
    Change(
        "functions/create_booking_safe",
        None,
        r"""-- Promises: a booking is made only while its slot has room, and only once per idempotency key.
-- Called by POST /v1/bookings. Locks: slot, customer (if it changes), then the new booking and its job.
-- Raises: SB001 slot_not_found, SB002 slot_full, SB003 slot_closed, SB004 slot_in_past, SB008 insufficient_units,
-- SB010 idempotency_conflict. A refusal leaves nothing behind.
CREATE OR REPLACE FUNCTION create_booking_safe(
  p_actor jsonb,
  p_slot_id uuid,
  p_customer jsonb,
  p_units integer DEFAULT 1,
  p_payment_method text DEFAULT 'pay_on_arrival',
  p_metadata jsonb DEFAULT '{}',
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (booking_id uuid, booking_version integer, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot slots;
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_slot := lock_slot(p_slot_id);

  body := replay_request(p_actor ->> 'id', 'create_booking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_open_slot(v_slot, p_now);
    PERFORM require_room(v_slot, p_units, p_now);
    v_booking := place_booking(
      v_slot, upsert_customer(p_customer, p_now), p_units, p_payment_method, p_metadata, p_now
    );
    body := booking_json(v_booking, p_customer ->> 'ref');
    PERFORM remember_request(p_actor ->> 'id', 'create_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/create_resource",
        None,
        r"""-- Promises: a new resource. Called by POST /v1/resources. Raises: 22023 for a time zone Postgres does not know.
CREATE OR REPLACE FUNCTION create_resource(
  p_actor jsonb, p_name text, p_timezone text, p_metadata jsonb DEFAULT '{}', p_now timestamptz DEFAULT now()
)
RETURNS TABLE (resource_id uuid, resource_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_resource resources;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO resources (name, timezone, metadata, created_at, updated_at)
  VALUES (p_name, p_timezone, p_metadata, p_now, p_now)
  RETURNING * INTO v_resource;
  RETURN QUERY SELECT v_resource.id, v_resource.version, resource_json(v_resource);
END
$$""",
    ),
    Change(
        "functions/due_jobs",
        None,
        r"""-- Promises: how many jobs are due, and for how long the oldest has waited, in milliseconds.
-- Called by the job processor and `holdfast doctor`. Names the job types so that the index skips what lies in the future.
CREATE OR REPLACE FUNCTION due_jobs(p_now timestamptz DEFAULT now())
RETURNS TABLE (remaining_due bigint, oldest_due_age_ms bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT count(*), COALESCE((extract(epoch FROM p_now - min(j.run_at)) * 1000)::bigint, 0)
  FROM jobs j
  WHERE j.job_type IN ('complete_booking', 'expire_booking') AND j.status = 'pending' AND j.run_at <= p_now
$$""",
    ),
    Change(
        "functions/expire_due_bookings",
        None,
        r"""-- Promises: holds whose time is over become expired and free their places, each once.
-- Called by the job processor. Locks: slots and bookings, SKIP LOCKED: what is busy comes next run.
CREATE OR REPLACE FUNCTION expire_due_bookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_expired integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  WITH due AS MATERIALIZED (
    SELECT b.id
    FROM jobs j
    JOIN bookings b ON b.id = j.booking_id
    JOIN slots s ON s.id = b.slot_id
    WHERE j.job_type = 'expire_booking' AND j.status = 'pending' AND j.run_at <= p_now
      AND b.status = 'pending' AND b.expires_at <= p_now
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF s, b SKIP LOCKED
  )
  UPDATE bookings b
  SET status = 'expired', updated_at = p_now
  FROM due
  WHERE b.id = due.id;
  GET DIAGNOSTICS v_expired = ROW_COUNT;
  RETURN v_expired;
END
$$""",
    ),
    Change(
        "functions/expire_slot_holds",
        None,
        r"""-- Promises: holds of one slot whose time is over give their places back now, whether or not a sweep has run.
-- Called by create_booking_safe when a slot looks full. Locks: bookings (the caller holds the slot).
CREATE OR REPLACE FUNCTION expire_slot_holds(p_slot_id uuid, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_expired integer;
BEGIN
  UPDATE bookings b
  SET status = 'expired', updated_at = p_now
  WHERE b.slot_id = p_slot_id AND b.status = 'pending' AND b.expires_at <= p_now;
  GET DIAGNOSTICS v_expired = ROW_COUNT;
  RETURN v_expired;
END
$$""",
    ),
    Change(
        "functions/find_api_key",
        None,
        r"""-- Promises: the live key with that hash, or no row. Called by every authenticated request (cached for a second).
CREATE OR REPLACE FUNCTION find_api_key(p_key_hash bytea)
RETURNS TABLE (key_id uuid, scopes text[])
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT k.id, k.scopes FROM api_keys k WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL
$$""",
    ),
    Change(
        "functions/get_booking",
        None,
        r"""-- Promises: one booking as the API answers it. Called by GET /v1/bookings/{id}. Raises: SB005 booking_not_found.
CREATE OR REPLACE FUNCTION get_booking(p_booking_id uuid)
RETURNS TABLE (booking_id uuid, booking_version integer, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT b.id, b.version, booking_json(b, c.ref)
    FROM bookings b
    JOIN customers c ON c.id = b.customer_id
    WHERE b.id = p_booking_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'booking_not_found' USING ERRCODE = 'SB005',
      DETAIL = json_build_object('booking_id', p_booking_id);
  END IF;
END
$$""",
    ),
    Change(
        "functions/get_resource",
        None,
        r"""-- Promises: one resource as the API answers it. Called by GET /v1/resources/{id}. Raises: SB009 resource_not_found.
CREATE OR REPLACE FUNCTION get_resource(p_resource_id uuid)
RETURNS TABLE (resource_id uuid, resource_version integer, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY SELECT r.id, r.version, resource_json(r) FROM resources r WHERE r.id = p_resource_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'resource_not_found' USING ERRCODE = 'SB009',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;
END
$$""",
    ),
    Change(
        "functions/hold_until",
        None,
        r"""-- Promises: when a hold taken now ends, by the resource's rule. Called by place_booking and import_booking.
CREATE OR REPLACE FUNCTION hold_until(p_resource_id uuid, p_now timestamptz DEFAULT now())
RETURNS timestamptz
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (SELECT p_now + make_interval(mins => r.hold_minutes) FROM resources r WHERE r.id = p_resource_id);
END
$$""",
    ),
    Change(
        "functions/import_booking",
        None,
        r"""-- Promises: one booking carried over from another system exists, with the resource, slot and customer it names.
-- 'created', or 'unchanged' when its external_id is known. Called by import_bookings. Locks: resource, slot, customer.
-- Raises: SB002 slot_full when a slot of our own has no room; slots the import made grow to hold what it brings.
CREATE OR REPLACE FUNCTION import_booking(p_row jsonb, p_now timestamptz DEFAULT now())
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_row record;
  v_slot slots;
BEGIN
  PERFORM FROM bookings b WHERE b.external_id = p_row ->> 'external_id';
  IF FOUND THEN
    RETURN 'unchanged';
  END IF;

  SELECT * INTO v_row FROM jsonb_to_record(p_row) AS r (
    external_id text, resource text, timezone text, starts_at timestamptz, ends_at timestamptz, status text,
    customer jsonb, units integer, payment_method text, payment_status text
  );
  v_slot := import_slot(import_resource(v_row.resource, v_row.timezone, p_now), v_row.starts_at, v_row.ends_at, p_now);

  IF v_row.status IN ('pending', 'confirmed', 'completed', 'no_show') THEN
    IF v_slot.source = 'import' THEN
      UPDATE slots s
      SET max_bookings = GREATEST(s.max_bookings, s.booked_bookings + 1), updated_at = p_now
      WHERE s.id = v_slot.id AND s.booked_bookings = s.max_bookings;
    ELSE
      PERFORM require_room(v_slot, v_row.units, p_now);
    END IF;
  END IF;

  INSERT INTO bookings (
    external_id, resource_id, slot_id, starts_at, ends_at, customer_id, units, payment_method, payment_status,
    status, expires_at, created_at, placed_at, updated_at
  )
  VALUES (
    v_row.external_id, v_slot.resource_id, v_slot.id, v_slot.starts_at, v_slot.ends_at,
    upsert_customer(v_row.customer, p_now), v_row.units, v_row.payment_method, v_row.payment_status,
    v_row.status,
    CASE v_row.status WHEN 'pending' THEN hold_until(v_slot.resource_id, p_now) END,
    p_now, p_now, p_now
  );
  RETURN 'created';
END
$$""",
    ),
    Change(
        "functions/import_bookings",
        None,
        r"""-- Promises: all rows of the batch are in, or none; answers for each row, in order, 'created' or 'unchanged'.
-- Called by `holdfast import bookings`, which goes row by row through a batch that was refused.
CREATE OR REPLACE FUNCTION import_bookings(p_actor jsonb, p_rows jsonb, p_now timestamptz DEFAULT now())
RETURNS text[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_row jsonb;
  v_outcomes text[] := ARRAY[]::text[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  FOR v_row IN SELECT jsonb_array_elements(p_rows) LOOP
    v_outcomes := v_outcomes || import_booking(v_row, p_now);
  END LOOP;
  RETURN v_outcomes;
END
$$""",
    ),
    Change(
        "functions/import_resource",
        None,
        r"""-- Promises: the id of the resource that an import row names by external id, id or name; a new one if none does.
-- Called by import_booking.
CREATE OR REPLACE FUNCTION import_resource(p_resource text, p_timezone text, p_now timestamptz DEFAULT now())
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_id uuid;
BEGIN
  SELECT r.id INTO v_id FROM resources r WHERE r.external_id = p_resource;
  IF NOT FOUND THEN
    SELECT r.id INTO v_id
    FROM resources r
    WHERE p_resource IN (r.id::text, r.name)
    ORDER BY r.id::text = p_resource DESC, r.created_at
    LIMIT 1;
  END IF;
  IF FOUND THEN
    RETURN v_id;
  END IF;

  INSERT INTO resources AS r (name, external_id, timezone, created_at, updated_at)
  VALUES (p_resource, p_resource, p_timezone, p_now, p_now)
  ON CONFLICT (external_id) DO UPDATE SET updated_at = r.updated_at
  RETURNING r.id INTO v_id;
  RETURN v_id;
END
$$""",
    ),
    Change(
        "functions/import_slot",
        None,
        r"""-- Promises: the slot of a resource with exactly these times, made if there was none, locked until the transaction ends.
-- Called by import_booking. Locks: slot.
CREATE OR REPLACE FUNCTION import_slot(
  p_resource_id uuid, p_starts_at timestamptz, p_ends_at timestamptz, p_now timestamptz DEFAULT now()
)
RETURNS slots
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot slots;
BEGIN
  INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings, source, created_at, updated_at)
  VALUES (p_resource_id, p_starts_at, p_ends_at, 1, 'import', p_now, p_now)
  ON CONFLICT (resource_id, starts_at, ends_at) DO NOTHING;

  SELECT * INTO v_slot
  FROM slots s
  WHERE s.resource_id = p_resource_id AND s.starts_at = p_starts_at AND s.ends_at = p_ends_at
  FOR NO KEY UPDATE;
  RETURN v_slot;
END
$$""",
    ),
    Change(
        "functions/list_api_keys",
        None,
        r"""-- Promises: every key, newest first, never its hash. Called by `holdfast keys list`.
CREATE OR REPLACE FUNCTION list_api_keys()
RETURNS TABLE (key_id uuid, name text, prefix text, scopes text[], created_at timestamptz, revoked_at timestamptz)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT k.id, k.name, k.prefix, k.scopes, k.created_at, k.revoked_at FROM api_keys k ORDER BY k.created_at DESC
$$""",
    ),
    Change(
        "functions/list_bookings",
        None,
        r"""-- Promises: one page of the bookings that pass every given filter, by start, and the next page's cursor or null.
-- Called by GET /v1/bookings. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_bookings(
  p_status text DEFAULT NULL,
  p_resource_id uuid DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_from timestamptz DEFAULT NULL,
  p_to timestamptz DEFAULT NULL,
  p_updated_since timestamptz DEFAULT NULL,
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
  v_page bookings[];
BEGIN
  v_page := ARRAY(
    SELECT b
    FROM bookings b
    WHERE (b.starts_at, b.id) > (v_after.at, v_after.id)
      AND (p_status IS NULL OR b.status = p_status)
      AND (p_resource_id IS NULL OR b.resource_id = p_resource_id)
      AND (p_customer_ref IS NULL OR b.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref))
      AND (p_from IS NULL OR b.starts_at >= p_from)
      AND (p_to IS NULL OR b.starts_at < p_to)
      AND (p_updated_since IS NULL OR b.updated_at >= p_updated_since)
    ORDER BY b.starts_at, b.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(booking_json(b, c.ref) ORDER BY b.starts_at, b.id)
        FROM unnest(v_page[:p_limit]) b
        JOIN customers c ON c.id = b.customer_id
      ),
      '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].starts_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/list_resources",
        None,
        r"""-- Promises: one page of resources in order of creation, and the cursor of the next page or null.
-- Called by GET /v1/resources.
CREATE OR REPLACE FUNCTION list_resources(p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page resources[];
BEGIN
  v_page := ARRAY(
    SELECT r
    FROM resources r
    WHERE (r.created_at, r.id) > (v_after.at, v_after.id)
    ORDER BY r.created_at, r.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE((SELECT json_agg(resource_json(r)) FROM unnest(v_page[:p_limit]) r), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/lock_booking",
        None,
        r"""-- Promises: the booking's row, locked after its slot's, so that every writer takes them in the same order.
-- Called by every function that changes one booking. Locks: slot, booking. Raises: SB005 booking_not_found,
-- SB006 version_conflict (the booking moved to another slot while we waited).
CREATE OR REPLACE FUNCTION lock_booking(p_booking_id uuid)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot_id uuid;
  v_booking bookings;
BEGIN
  SELECT b.slot_id INTO v_slot_id FROM bookings b WHERE b.id = p_booking_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'booking_not_found' USING ERRCODE = 'SB005',
      DETAIL = json_build_object('booking_id', p_booking_id);
  END IF;

  PERFORM FROM slots s WHERE s.id = v_slot_id FOR NO KEY UPDATE;
  SELECT * INTO v_booking FROM bookings b WHERE b.id = p_booking_id FOR NO KEY UPDATE;
  IF v_booking.slot_id <> v_slot_id THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('booking_id', p_booking_id, 'current_version', v_booking.version);
  END IF;
  RETURN v_booking;
END
$$""",
    ),
    Change(
        "functions/lock_slot",
        None,
        r"""-- Promises: the slot's row, locked until the transaction ends. Called by every function that takes a place.
-- Locks: slot. Raises: SB001 slot_not_found.
CREATE OR REPLACE FUNCTION lock_slot(p_slot_id uuid)
RETURNS slots
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot slots;
BEGIN
  -- NO KEY: the foreign key checks of other writers need not wait for us
  SELECT * INTO v_slot FROM slots s WHERE s.id = p_slot_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'slot_not_found' USING ERRCODE = 'SB001', DETAIL = json_build_object('slot_id', p_slot_id);
  END IF;
  RETURN v_slot;
END
$$""",
    ),
    Change(
        "functions/make_cursor",
        None,
        r"""-- Promises: an opaque, URL-safe word for "after this row". Called by the list functions; read_cursor reads it back.
CREATE OR REPLACE FUNCTION make_cursor(p_at timestamptz, p_id uuid)
RETURNS text
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN encode(
    convert_to(to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || ' ' || p_id, 'UTF8'), 'hex'
  );
END
$$""",
    ),
    Change(
        "functions/mark_no_show",
        None,
        r"""-- Promises: a booking whose slot has begun is on record as a no-show, or nothing changed.
-- Called by POST /v1/bookings/{id}/no-show. Locks: slot, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict, SB014 too_early.
CREATE OR REPLACE FUNCTION mark_no_show(
  p_actor jsonb,
  p_booking_id uuid,
  p_version integer,
  p_reason text DEFAULT NULL,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (booking_id uuid, booking_version integer, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', (p_actor || jsonb_build_object('reason', p_reason))::text, true);
  v_booking := lock_booking(p_booking_id);

  body := replay_request(p_actor ->> 'id', 'mark_no_show', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_transition(p_booking_id, v_booking.status, 'no_show');
    IF v_booking.starts_at > p_now THEN
      RAISE EXCEPTION 'too_early' USING ERRCODE = 'SB014',
        DETAIL = json_build_object('booking_id', p_booking_id, 'starts_at', v_booking.starts_at);
    END IF;

    UPDATE bookings b
    SET status = 'no_show', updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'mark_no_show', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/place_booking",
        None,
        r"""-- Promises: the new booking's row: confirmed, or a hold with its expiry where it is to be paid now.
-- Called by create_booking_safe, which has locked the slot and found room in it.
CREATE OR REPLACE FUNCTION place_booking(
  p_slot slots,
  p_customer_id uuid,
  p_units integer,
  p_payment_method text,
  p_metadata jsonb,
  p_now timestamptz DEFAULT now()
)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_is_hold boolean := p_payment_method = 'pay_now';
  v_booking bookings;
BEGIN
  INSERT INTO bookings (
    resource_id, slot_id, starts_at, ends_at, customer_id, units, payment_method, metadata,
    status, expires_at, created_at, placed_at, updated_at
  )
  VALUES (
    p_slot.resource_id, p_slot.id, p_slot.starts_at, p_slot.ends_at, p_customer_id,
    p_units, p_payment_method, p_metadata,
    CASE WHEN v_is_hold THEN 'pending' ELSE 'confirmed' END,
    CASE WHEN v_is_hold THEN hold_until(p_slot.resource_id, p_now) END,
    p_now, p_now, p_now
  )
  RETURNING * INTO v_booking;
  RETURN v_booking;
END
$$""",
    ),
    Change(
        "functions/prune_idempotency_keys",
        None,
        r"""-- Promises: idempotency keys older than p_keep are forgotten, at most p_limit a call.
-- Called by the job processor. Locks: the keys it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_idempotency_keys(
  p_limit integer, p_keep interval DEFAULT '72 hours', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_pruned integer;
BEGIN
  DELETE FROM idempotency_keys k
  USING (
    SELECT old.principal, old.operation, old.key
    FROM idempotency_keys old
    WHERE old.created_at < p_now - p_keep
    LIMIT p_limit
    FOR UPDATE SKIP LOCKED
  ) AS old
  WHERE (k.principal, k.operation, k.key) = (old.principal, old.operation, old.key);
  GET DIAGNOSTICS v_pruned = ROW_COUNT;
  RETURN v_pruned;
END
$$""",
    ),
    Change(
        "functions/read_cursor",
        None,
        r"""-- Promises: the place a cursor stands for; the start of the list where there is none. Called by the list functions.
-- Raises: a data exception (class 22) for text that make_cursor did not make.
CREATE OR REPLACE FUNCTION read_cursor(p_cursor text, OUT at timestamptz, OUT id uuid)
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_text text := convert_from(decode(p_cursor, 'hex'), 'UTF8');
BEGIN
  at := COALESCE(split_part(v_text, ' ', 1)::timestamptz, '-infinity');
  id := COALESCE(split_part(v_text, ' ', 2)::uuid, '00000000-0000-0000-0000-000000000000');
END
$$""",
    ),
    Change(
        "functions/record_payment",
        None,
        r"""-- Promises: what the payment came to is on record, and the booking where that leads: paid confirms a hold, failed
-- ends it.
-- Called by POST /v1/bookings/{id}/payment. Locks: slot, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict,
-- SB013 hold_expired.
CREATE OR REPLACE FUNCTION record_payment(
  p_actor jsonb,
  p_booking_id uuid,
  p_version integer,
  p_payment_status text,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (booking_id uuid, booking_version integer, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
  v_status text;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_booking := lock_booking(p_booking_id);

  body := replay_request(p_actor ->> 'id', 'record_payment', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_payment_step(v_booking, p_payment_status);
    v_status := CASE
      WHEN p_payment_status = 'paid' AND v_booking.status IN ('pending', 'expired') THEN 'confirmed'
      WHEN p_payment_status = 'failed' THEN 'failed'
      ELSE v_booking.status
    END;
    IF v_status = 'confirmed' THEN
      PERFORM require_place(v_booking, p_now);
    END IF;

    UPDATE bookings b
    SET status = v_status,
        payment_status = p_payment_status,
        updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'record_payment', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/refuse_change",
        None,
        r"""-- Promises: what the table holds stays. Called by triggers on tables whose rows are history or business facts.
-- Raises: SB012 change_refused.
CREATE OR REPLACE FUNCTION refuse_change()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  RAISE EXCEPTION 'change_refused' USING ERRCODE = 'SB012',
    DETAIL = json_build_object('table', TG_TABLE_NAME, 'operation', lower(TG_OP));
END
$$""",
    ),
    Change(
        "functions/remember_request",
        None,
        r"""-- Promises: the answer is kept under its idempotency key, if it has one, in the transaction that did the work.
-- Called by write functions as their last step. Only success is kept: a refusal rolls back and may be tried again.
-- Raises: SB010 idempotency_conflict (a request with another body took the key meanwhile).
CREATE OR REPLACE FUNCTION remember_request(
  p_principal text, p_operation text, p_key text, p_request_hash bytea, p_response json, p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_key IS NULL THEN
    RETURN;
  END IF;

  INSERT INTO idempotency_keys (principal, operation, key, request_hash, response, created_at)
  VALUES (p_principal, p_operation, p_key, p_request_hash, p_response, p_now)
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'idempotency_conflict' USING ERRCODE = 'SB010', DETAIL = '{}';
  END IF;
END
$$""",
    ),
    Change(
        "functions/replay_request",
        None,
        r"""-- Promises: the stored answer of an earlier request with this idempotency key; NULL where the key is new or absent.
-- Called by write functions AFTER they have locked their first row: twins of one request queue there, so the second
-- sees the first one's answer, and the lock makes the replay's commit wait for what it repeats to be durable.
-- Raises: SB010 idempotency_conflict (the key was used for a request with another body).
CREATE OR REPLACE FUNCTION replay_request(p_principal text, p_operation text, p_key text, p_request_hash bytea)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_request idempotency_keys;
BEGIN
  IF p_key IS NULL THEN
    RETURN NULL;
  END IF;

  SELECT * INTO v_request
  FROM idempotency_keys k
  WHERE k.principal = p_principal AND k.operation = p_operation AND k.key = p_key;

  IF FOUND AND v_request.request_hash <> p_request_hash THEN
    RAISE EXCEPTION 'idempotency_conflict' USING ERRCODE = 'SB010',
      DETAIL = json_build_object('first_used_at', v_request.created_at);
  END IF;
  RETURN v_request.response;
END
$$""",
    ),
    Change(
        "functions/require_movable",
        None,
        r"""-- Promises: returns only if the booking may still go to another slot. Called by reschedule_booking.
-- Raises: SB007 invalid_transition, SB013 hold_expired.
CREATE OR REPLACE FUNCTION require_movable(p_booking bookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_booking.status NOT IN ('pending', 'confirmed') THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object('booking_id', p_booking.id, 'from', p_booking.status, 'to', 'rescheduled');
  END IF;
  IF p_booking.expires_at <= p_now THEN
    RAISE EXCEPTION 'hold_expired' USING ERRCODE = 'SB013',
      DETAIL = json_build_object('booking_id', p_booking.id, 'expired_at', p_booking.expires_at);
  END IF;
END
$$""",
    ),
    Change(
        "functions/require_open_slot",
        None,
        r"""-- Promises: returns only if newcomers may still take this slot at that time.
-- Called by create_booking_safe. Raises: SB003 slot_closed, SB004 slot_in_past.
CREATE OR REPLACE FUNCTION require_open_slot(p_slot slots, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_slot.is_legacy THEN
    RAISE EXCEPTION 'slot_closed' USING ERRCODE = 'SB003', DETAIL = json_build_object('slot_id', p_slot.id);
  END IF;
  IF p_slot.starts_at <= p_now THEN
    RAISE EXCEPTION 'slot_in_past' USING ERRCODE = 'SB004',
      DETAIL = json_build_object('slot_id', p_slot.id, 'starts_at', p_slot.starts_at);
  END IF;
END
$$""",
    ),
    Change(
        "functions/require_payment_step",
        None,
        r"""-- Promises: returns only if the booking's payment may take this step: pending to paid or failed, paid to refunded; and
-- never paid for a booking that is over without one. Called by record_payment. Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION require_payment_step(p_booking bookings, p_to text)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_allowed boolean := CASE p_to
    WHEN 'paid' THEN p_booking.payment_status = 'pending' AND p_booking.status NOT IN ('cancelled', 'failed')
    WHEN 'failed' THEN p_booking.payment_status = 'pending' AND p_booking.status = 'pending'
    WHEN 'refunded' THEN p_booking.payment_status = 'paid' AND p_booking.payment_method = 'pay_now'
    ELSE false
  END;
BEGIN
  IF NOT v_allowed THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object(
        'booking_id', p_booking.id, 'status', p_booking.status, 'payment_method', p_booking.payment_method,
        'from', p_booking.payment_status, 'to', p_to
      );
  END IF;
END
$$""",
    ),
    Change(
        "functions/require_place",
        None,
        r"""-- Promises: returns only if the booking has its place still, or may take it again: a hold whose time was over before
-- the money came is good if nobody took its place meanwhile. Called by record_payment and confirm_booking.
-- Locks: bookings whose hold is over (the caller holds the slot). Raises: SB013 hold_expired.
CREATE OR REPLACE FUNCTION require_place(p_booking bookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF NOT p_booking.holds_place THEN
    PERFORM require_open_slot(s, p_now), require_room(s, p_booking.units, p_now)
    FROM slots s
    WHERE s.id = p_booking.slot_id;
  END IF;
EXCEPTION
  WHEN SQLSTATE 'SB002' OR SQLSTATE 'SB003' OR SQLSTATE 'SB004' OR SQLSTATE 'SB008' THEN
    RAISE EXCEPTION 'hold_expired' USING ERRCODE = 'SB013',
      DETAIL = json_build_object(
        'booking_id', p_booking.id, 'slot_id', p_booking.slot_id, 'expired_at', p_booking.updated_at, 'reason', SQLERRM
      );
END
$$""",
    ),
    Change(
        "functions/require_room",
        None,
        r"""-- Promises: returns only if the locked slot has room for one more booking of that many units.
-- Called by create_booking_safe. Locks: bookings whose hold is over (the caller holds the slot).
-- Raises: SB002 slot_full, SB008 insufficient_units. The slot's CHECK is the second barrier, for every other writer.
CREATE OR REPLACE FUNCTION require_room(p_slot slots, p_units integer, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_bookings_left integer := p_slot.max_bookings - p_slot.booked_bookings;
  v_units_left integer := p_slot.max_units - p_slot.booked_units;  -- NULL: units are not limited
  v_is_full boolean := v_bookings_left <= 0 OR COALESCE(v_units_left <= 0, false);
  v_slot slots;
BEGIN
  IF NOT v_is_full AND p_units <= COALESCE(v_units_left, p_units) THEN
    RETURN;
  END IF;

  IF expire_slot_holds(p_slot.id, p_now) > 0 THEN
    SELECT * INTO v_slot FROM slots s WHERE s.id = p_slot.id;
    PERFORM require_room(v_slot, p_units, p_now);
    RETURN;
  END IF;

  RAISE EXCEPTION '%', CASE WHEN v_is_full THEN 'slot_full' ELSE 'insufficient_units' END
    USING ERRCODE = CASE WHEN v_is_full THEN 'SB002' ELSE 'SB008' END,
    DETAIL = json_build_object(
      'slot_id', p_slot.id, 'remaining_bookings', v_bookings_left, 'remaining_units', v_units_left
    );
END
$$""",
    ),
    Change(
        "functions/require_transition",
        None,
        r"""-- Promises: returns only if booking_transitions lists this step. Staying put is not a step.
-- Called by bookings_guard_update for every writer, and by entry functions that must refuse a repeat.
-- Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION require_transition(p_booking_id uuid, p_from text, p_to text)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM FROM booking_transitions t WHERE t.from_status = p_from AND t.to_status = p_to;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object('booking_id', p_booking_id, 'from', p_from, 'to', p_to);
  END IF;
END
$$""",
    ),
    Change(
        "functions/require_version",
        None,
        r"""-- Promises: returns only if the caller has seen the booking as it is now. Called by every function that changes one.
-- Raises: SB006 version_conflict.
CREATE OR REPLACE FUNCTION require_version(p_booking bookings, p_version integer)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_booking.version <> p_version THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('booking_id', p_booking.id, 'current_version', p_booking.version);
  END IF;
END
$$""",
    ),
    Change(
        "functions/reschedule_booking",
        None,
        r"""-- Promises: the booking has its place in the new slot and no other, under the same id, or nothing changed.
-- Called by POST /v1/bookings/{id}/reschedule. Locks: both slots by id, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict,
-- SB001 slot_not_found, SB002 slot_full, SB003 slot_closed, SB004 slot_in_past, SB008 insufficient_units.
CREATE OR REPLACE FUNCTION reschedule_booking(
  p_actor jsonb,
  p_booking_id uuid,
  p_version integer,
  p_slot_id uuid,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (booking_id uuid, booking_version integer, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
  v_slot slots;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- both, in the order of their ids, before anything else: two moves that cross cannot deadlock
  PERFORM FROM slots s
  WHERE s.id IN (p_slot_id, (SELECT b.slot_id FROM bookings b WHERE b.id = p_booking_id))
  ORDER BY s.id
  FOR NO KEY UPDATE;
  v_booking := lock_booking(p_booking_id);
  v_slot := lock_slot(p_slot_id);

  body := replay_request(p_actor ->> 'id', 'reschedule_booking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_movable(v_booking, p_now);
    PERFORM require_open_slot(v_slot, p_now);
    IF v_slot.id <> v_booking.slot_id THEN
      PERFORM require_room(v_slot, v_booking.units, p_now);
    END IF;

    UPDATE bookings b
    SET slot_id = v_slot.id,
        resource_id = v_slot.resource_id,
        starts_at = v_slot.starts_at,
        ends_at = v_slot.ends_at,
        placed_at = p_now,
        updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'reschedule_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/resource_json",
        None,
        r"""-- Promises: the one JSON shape of a resource. Called by every function that answers a resource.
CREATE OR REPLACE FUNCTION resource_json(p_resource resources)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_resource.id,
    'name', p_resource.name,
    'timezone', p_resource.timezone,
    'metadata', p_resource.metadata,
    'version', p_resource.version,
    'created_at', p_resource.created_at,
    'updated_at', p_resource.updated_at
  );
END
$$""",
    ),
    Change(
        "functions/revoke_api_key",
        None,
        r"""-- Promises: keys with that prefix open nothing any more. Called by `holdfast keys revoke`. Answers how many it ended.
CREATE OR REPLACE FUNCTION revoke_api_key(p_actor jsonb, p_prefix text, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_revoked integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE api_keys k SET revoked_at = p_now WHERE k.prefix = p_prefix AND k.revoked_at IS NULL;
  GET DIAGNOSTICS v_revoked = ROW_COUNT;
  RETURN v_revoked;
END
$$""",
    ),
    Change(
        "functions/slot_json",
        None,
        r"""-- Promises: one slot as availability answers it: what is left, whether that many units may be booked now, and if not
-- why. Called by available_slots and add_slots. opens_at stays null until schedules bring booking windows.
CREATE OR REPLACE FUNCTION slot_json(p_slot slots, p_units integer DEFAULT 1, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_reason text := CASE
    WHEN p_slot.starts_at <= p_now THEN 'past'
    WHEN p_slot.booked_bookings >= p_slot.max_bookings THEN 'full'
    WHEN p_slot.booked_units + p_units > p_slot.max_units THEN 'full'
  END;
BEGIN
  RETURN json_build_object(
    'id', p_slot.id,
    'starts_at', p_slot.starts_at,
    'ends_at', p_slot.ends_at,
    'max_bookings', p_slot.max_bookings,
    'max_units', p_slot.max_units,
    'remaining_bookings', p_slot.max_bookings - p_slot.booked_bookings,
    'remaining_units', p_slot.max_units - p_slot.booked_units,
    'available', v_reason IS NULL,
    'reason', v_reason,
    'opens_at', NULL
  );
END
$$""",
    ),
    Change(
        "functions/slots_guard_counters",
        None,
        r"""-- Promises: nobody but the bookings themselves changes what a slot counts as booked.
-- Called by triggers slots_guard_counters_on_insert and _on_update, for writes that no other trigger made.
-- Raises: SB012 change_refused.
CREATE OR REPLACE FUNCTION slots_guard_counters()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  RAISE EXCEPTION 'change_refused' USING ERRCODE = 'SB012',
    DETAIL = json_build_object('table', TG_TABLE_NAME, 'columns', json_build_array('booked_bookings', 'booked_units'));
END
$$""",
    ),
    Change(
        "functions/update_resource",
        None,
        r"""-- Promises: what is given replaces what was stored, if nobody changed the resource since the caller read it.
-- Called by PATCH /v1/resources/{id}. Locks: resource. Raises: SB009 resource_not_found, SB006 version_conflict,
-- 22023 for a time zone Postgres does not know.
CREATE OR REPLACE FUNCTION update_resource(
  p_actor jsonb,
  p_resource_id uuid,
  p_version integer,
  p_name text DEFAULT NULL,
  p_timezone text DEFAULT NULL,
  p_metadata jsonb DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (resource_id uuid, resource_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_resource resources;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  SELECT * INTO v_resource FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'resource_not_found' USING ERRCODE = 'SB009',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;
  IF v_resource.version <> p_version THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('resource_id', p_resource_id, 'current_version', v_resource.version);
  END IF;

  UPDATE resources r
  SET name = COALESCE(p_name, r.name),
      timezone = COALESCE(p_timezone, r.timezone),
      metadata = COALESCE(p_metadata, r.metadata),
      version = r.version + 1,
      updated_at = p_now
  WHERE r.id = p_resource_id
  RETURNING * INTO v_resource;
  RETURN QUERY SELECT v_resource.id, v_resource.version, resource_json(v_resource);
END
$$""",
    ),
    Change(
        "functions/upsert_customer",
        None,
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
    ),
    Change(
        "functions/write_audit_log",
        None,
        r"""-- Promises: one audit row per changed row, with the state before and after and who did it, in the same transaction.
-- Called by the *_write_audit triggers with the subject's name and the columns that must not be copied here.
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
  v_action text := audit_action(v_old, v_new);
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
    performed_by, performed_by_id, ip_address, user_agent, reason, request_id
  )
  VALUES (
    TG_ARGV[0],
    COALESCE(v_new, v_old) ->> 'id',
    TG_ARGV[0] || '.' || v_action,
    v_action,
    v_old,
    v_new,
    v_hidden_changes,
    COALESCE(v_actor ->> 'type', 'database'),
    COALESCE(v_actor ->> 'id', session_user),
    (v_actor ->> 'ip')::inet,
    v_actor ->> 'user_agent',
    v_actor ->> 'reason',
    v_actor ->> 'request_id'
  );
  RETURN NULL;
END
$$""",
    ),
    Change(
        "triggers/api_keys_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER api_keys_write_audit
AFTER INSERT OR UPDATE OR DELETE ON api_keys
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('api_key', 'key_hash')""",
    ),
    Change(
        "triggers/audit_log_refuse_change",
        None,
        r"""-- Append-only. Retention is the owner's deliberate act: disabling this trigger by name.
CREATE OR REPLACE TRIGGER audit_log_refuse_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/bookings_count_places_on_insert",
        None,
        r"""-- AFTER, not BEFORE: an INSERT that ON CONFLICT turns into nothing must not count.
CREATE OR REPLACE TRIGGER bookings_count_places_on_insert
AFTER INSERT ON bookings
FOR EACH ROW
WHEN (NEW.holds_place)
EXECUTE FUNCTION bookings_count_places()""",
    ),
    Change(
        "triggers/bookings_count_places_on_update",
        None,
        r"""-- Completing a booking keeps its place, so the sweep that completes thousands never touches a slot.
CREATE OR REPLACE TRIGGER bookings_count_places_on_update
AFTER UPDATE ON bookings
FOR EACH ROW
WHEN ((OLD.holds_place, OLD.slot_id, OLD.units) IS DISTINCT FROM (NEW.holds_place, NEW.slot_id, NEW.units))
EXECUTE FUNCTION bookings_count_places()""",
    ),
    Change(
        "triggers/bookings_guard_update",
        None,
        r"""CREATE OR REPLACE TRIGGER bookings_guard_update
BEFORE UPDATE ON bookings
FOR EACH ROW
EXECUTE FUNCTION bookings_guard_update()""",
    ),
    Change(
        "triggers/bookings_refuse_delete",
        None,
        r"""-- A booking ends by a status, never by vanishing.
CREATE OR REPLACE TRIGGER bookings_refuse_delete
BEFORE DELETE OR TRUNCATE ON bookings
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/bookings_sync_jobs_on_insert",
        None,
        r"""-- A booking imported as already over needs no job.
CREATE OR REPLACE TRIGGER bookings_sync_jobs_on_insert
AFTER INSERT ON bookings
FOR EACH ROW
WHEN (NEW.status IN ('pending', 'confirmed'))
EXECUTE FUNCTION bookings_sync_jobs()""",
    ),
    Change(
        "triggers/bookings_sync_jobs_on_update",
        None,
        r"""-- Only what decides which job is due, and when: other changes leave the jobs alone.
CREATE OR REPLACE TRIGGER bookings_sync_jobs_on_update
AFTER UPDATE ON bookings
FOR EACH ROW
WHEN ((OLD.status, OLD.ends_at, OLD.expires_at) IS DISTINCT FROM (NEW.status, NEW.ends_at, NEW.expires_at))
EXECUTE FUNCTION bookings_sync_jobs()""",
    ),
    Change(
        "triggers/bookings_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER bookings_write_audit
AFTER INSERT OR UPDATE ON bookings
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('booking')""",
    ),
    Change(
        "triggers/customers_write_audit",
        None,
        r"""-- Personal data stays in customers alone: the audit row says which of these changed, never to what.
CREATE OR REPLACE TRIGGER customers_write_audit
AFTER INSERT OR UPDATE OR DELETE ON customers
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('customer', 'name', 'email', 'phone')""",
    ),
    Change(
        "triggers/resources_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER resources_write_audit
AFTER INSERT OR UPDATE OR DELETE ON resources
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('resource')""",
    ),
    Change(
        "triggers/slots_guard_counters_on_insert",
        None,
        r"""-- A new slot is empty.
CREATE OR REPLACE TRIGGER slots_guard_counters_on_insert
BEFORE INSERT ON slots
FOR EACH ROW
WHEN (NEW.booked_bookings <> 0 OR NEW.booked_units <> 0)
EXECUTE FUNCTION slots_guard_counters()""",
    ),
    Change(
        "triggers/slots_guard_counters_on_update",
        None,
        r"""-- Depth 0 is a writer's own statement; bookings_count_places writes from inside a trigger, and pays nothing for this.
CREATE OR REPLACE TRIGGER slots_guard_counters_on_update
BEFORE UPDATE OF booked_bookings, booked_units ON slots
FOR EACH ROW
WHEN (
  pg_trigger_depth() = 0
  AND (OLD.booked_bookings, OLD.booked_units) IS DISTINCT FROM (NEW.booked_bookings, NEW.booked_units)
)
EXECUTE FUNCTION slots_guard_counters()""",
    ),
    Change(
        "triggers/slots_write_audit",
        None,
        r"""-- Not the counters: they follow from bookings, whose every change is audited already.
CREATE OR REPLACE TRIGGER slots_write_audit
AFTER INSERT OR DELETE OR UPDATE OF resource_id, starts_at, ends_at, max_bookings, max_units, is_legacy ON slots
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('slot')""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
