"""payment, confirmation, no-show and rescheduling.

Revision ID: 0005
Revises: 0004
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/booking_reference",
        r"""-- Promises: a short reference a person can read out, unlike its neighbours, and never the same for two numbers below 2^35.
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
        "functions/bookings_guard_update",
        r"""-- Promises: a booking's status only ever takes a step that booking_transitions lists, and every change grows its version.
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
  NEW.version := OLD.version + 1;
  RETURN NEW;
END
$$""",
        r"""-- Promises: a booking's status only takes a step that booking_transitions lists, and every change grows its version.
-- A move counts from now, so that bookings_not_in_past_check refuses one into a slot that has begun.
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
        "functions/cancel_booking",
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

  IF p_idempotency_key IS NOT NULL THEN
    body := replay_request(p_actor ->> 'id', 'cancel_booking', p_idempotency_key, p_request_hash);
    IF body IS NOT NULL THEN
      RETURN QUERY SELECT (body ->> 'id')::uuid, (body ->> 'version')::integer, body, true;
      RETURN;
    END IF;
  END IF;

  IF v_booking.version <> p_version THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('booking_id', p_booking_id, 'current_version', v_booking.version);
  END IF;
  PERFORM require_transition(p_booking_id, v_booking.status, 'cancelled');

  UPDATE bookings b
  SET status = 'cancelled', updated_at = p_now
  WHERE b.id = p_booking_id
  RETURNING * INTO v_booking;

  body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
  IF p_idempotency_key IS NOT NULL THEN
    PERFORM remember_request(p_actor ->> 'id', 'cancel_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;
  RETURN QUERY SELECT v_booking.id, v_booking.version, body, false;
END
$$""",
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
    SET status = 'cancelled', expires_at = NULL, updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'cancel_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := body ->> 'id';
  booking_version := body ->> 'version';
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/complete_due_bookings",
        r"""-- Promises: confirmed bookings whose end has passed become completed, each once, however many callers run at once.
-- Called by the job processor. Picks by job, oldest first; the jobs settle by trigger in the same transaction.
-- Locks: bookings and their jobs, both SKIP LOCKED, so that it never waits for a customer nor makes one wait.
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
    FOR NO KEY UPDATE OF j, b SKIP LOCKED
  )
  UPDATE bookings b
  SET status = 'completed', updated_at = p_now
  FROM due
  WHERE b.id = due.id;
  GET DIAGNOSTICS v_completed = ROW_COUNT;
  RETURN v_completed;
END
$$""",
        r"""-- Promises: confirmed bookings whose end has passed become completed, each once, however many callers run at once.
-- Called by the job processor. Picks by job, oldest first; the jobs settle by trigger in the same transaction.
-- Locks: bookings and their jobs, both SKIP LOCKED: it never waits for a customer.
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
    FOR NO KEY UPDATE OF j, b SKIP LOCKED
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
    SET status = 'confirmed', expires_at = NULL, updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'confirm_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := body ->> 'id';
  booking_version := body ->> 'version';
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/create_booking_safe",
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

  -- NO KEY: the foreign key checks of other writers need not wait for us
  SELECT * INTO v_slot FROM slots s WHERE s.id = p_slot_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'slot_not_found' USING ERRCODE = 'SB001', DETAIL = json_build_object('slot_id', p_slot_id);
  END IF;

  IF p_idempotency_key IS NOT NULL THEN
    body := replay_request(p_actor ->> 'id', 'create_booking', p_idempotency_key, p_request_hash);
    IF body IS NOT NULL THEN
      RETURN QUERY SELECT (body ->> 'id')::uuid, (body ->> 'version')::integer, body, true;
      RETURN;
    END IF;
  END IF;

  PERFORM require_open_slot(v_slot, p_now);
  PERFORM require_room(v_slot, p_units, p_now);

  INSERT INTO bookings (
    resource_id, slot_id, starts_at, ends_at, customer_id, units, payment_method, metadata,
    status, expires_at, created_at, placed_at, updated_at
  )
  VALUES (
    v_slot.resource_id, v_slot.id, v_slot.starts_at, v_slot.ends_at, upsert_customer(p_customer, p_now),
    p_units, p_payment_method, p_metadata,
    CASE p_payment_method WHEN 'pay_now' THEN 'pending' ELSE 'confirmed' END,
    CASE p_payment_method WHEN 'pay_now' THEN
      (SELECT p_now + make_interval(mins => r.hold_minutes) FROM resources r WHERE r.id = v_slot.resource_id)
    END,
    p_now, p_now, p_now
  )
  RETURNING * INTO v_booking;

  body := booking_json(v_booking, p_customer ->> 'ref');
  IF p_idempotency_key IS NOT NULL THEN
    PERFORM remember_request(p_actor ->> 'id', 'create_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;
  RETURN QUERY SELECT v_booking.id, v_booking.version, body, false;
END
$$""",
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

  booking_id := body ->> 'id';
  booking_version := body ->> 'version';
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/due_jobs",
        r"""-- Promises: how many jobs are due, and for how long the oldest has waited, in milliseconds.
-- Called by the job processor and by readiness. Names the job types so that the index skips what lies in the future.
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
        r"""-- Promises: holds whose time is over become expired and free their places, each once.
-- Called by the job processor. Locks: slots by id, then bookings and jobs, all SKIP LOCKED: what is busy comes next run.
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
    FOR NO KEY UPDATE OF s, b, j SKIP LOCKED
  )
  UPDATE bookings b
  SET status = 'expired', updated_at = p_now
  FROM due
  WHERE b.id = due.id;
  GET DIAGNOSTICS v_expired = ROW_COUNT;
  RETURN v_expired;
END
$$""",
        r"""-- Promises: holds whose time is over become expired and free their places, each once.
-- Called by the job processor. Locks: slots, bookings and jobs, all SKIP LOCKED: what is busy comes next run.
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
    FOR NO KEY UPDATE OF s, b, j SKIP LOCKED
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
    CASE v_row.status WHEN 'pending' THEN
      (SELECT p_now + make_interval(mins => r.hold_minutes) FROM resources r WHERE r.id = v_slot.resource_id)
    END,
    p_now, p_now, p_now
  );
  RETURN 'created';
END
$$""",
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

  booking_id := body ->> 'id';
  booking_version := body ->> 'version';
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
        r"""-- Promises: idempotency keys older than p_keep are forgotten, at most p_limit a call.
-- Called by the job processor. Locks: the keys it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_idempotency_keys(p_limit integer, p_keep interval DEFAULT '72 hours', p_now timestamptz DEFAULT now())
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
        expires_at = CASE v_status WHEN 'pending' THEN b.expires_at END,
        updated_at = p_now
    WHERE b.id = p_booking_id
    RETURNING * INTO v_booking;
    body := booking_json(v_booking, (SELECT c.ref FROM customers c WHERE c.id = v_booking.customer_id));
    PERFORM remember_request(p_actor ->> 'id', 'record_payment', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := body ->> 'id';
  booking_version := body ->> 'version';
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/remember_request",
        r"""-- Promises: the answer is kept under its idempotency key, in the transaction that did the work.
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
  INSERT INTO idempotency_keys (principal, operation, key, request_hash, response, created_at)
  VALUES (p_principal, p_operation, p_key, p_request_hash, p_response, p_now)
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'idempotency_conflict' USING ERRCODE = 'SB010', DETAIL = '{}';
  END IF;
END
$$""",
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
        r"""-- Promises: the stored answer of an earlier request with this idempotency key, or NULL when the key is new.
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
        'booking_id', p_booking.id, 'slot_id', p_booking.slot_id, 'expired_at', p_booking.expires_at, 'reason', SQLERRM
      );
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

  booking_id := body ->> 'id';
  booking_version := body ->> 'version';
  RETURN NEXT;
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
        "functions/write_audit_log",
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
  v_actor jsonb := NULLIF(current_setting('holdfast.actor', true), '');
  v_old jsonb := to_jsonb(OLD);
  v_new jsonb := to_jsonb(NEW);
  v_action text := audit_action(v_old, v_new);
  v_hidden text[] := TG_ARGV[1:];
  v_hidden_changes text[];
BEGIN
  IF TG_NARGS > 1 THEN
    v_hidden_changes := ARRAY(SELECT h FROM unnest(v_hidden) h WHERE v_old -> h IS DISTINCT FROM v_new -> h);
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
  v_actor jsonb := NULLIF(current_setting('holdfast.actor', true), '');
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
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
