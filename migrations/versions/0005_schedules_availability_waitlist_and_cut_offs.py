"""schedules availability waitlist and cut-offs.

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
        "functions/accept_offer",
        None,
        r"""-- Promises: the offered place is the customer's: the hold is a confirmed booking. One that is to be paid now is accepted
-- by paying for it. Called by POST /v1/waitlist/{id}/accept. Locks: slots by id, entry, booking, customer, then its jobs.
-- Raises: SB007 invalid_transition, SB013 hold_expired, what lock_waitlist_entry and require_customer_limit raise.
CREATE OR REPLACE FUNCTION accept_offer(p_actor jsonb, p_entry_id uuid, p_now timestamptz DEFAULT now())
RETURNS TABLE (booking_id uuid, booking_version integer, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry waitlist_entries;
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_entry := lock_waitlist_entry(p_actor, p_entry_id);
  IF v_entry.status NOT IN ('offered', 'accepted') OR v_entry.payment_method = 'pay_now' THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object(
        'waitlist_entry_id', p_entry_id, 'payment_method', v_entry.payment_method,
        'from', v_entry.status, 'to', 'accepted'
      );
  END IF;

  v_booking := lock_booking(p_actor, v_entry.booking_id);
  IF v_booking.expires_at <= p_now THEN
    RAISE EXCEPTION 'hold_expired' USING ERRCODE = 'SB013',
      DETAIL = json_build_object('booking_id', v_booking.id, 'expired_at', v_booking.expires_at);
  END IF;
  IF v_entry.status = 'offered' THEN
    PERFORM require_customer_limit(p_actor, v_booking.resource_id, v_booking.customer_id, p_now, p_held => 1);
    UPDATE bookings b
    SET status = 'confirmed', updated_at = p_now
    WHERE b.id = v_booking.id
    RETURNING * INTO v_booking;
  END IF;
  RETURN QUERY SELECT b.* FROM get_booking(v_booking.id) b;
END
$$""",
    ),
    Change(
        "functions/add_slots",
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
        r"""-- Promises: every given slot exists afterwards; one that existed with these times stays as it is and counts as kept.
-- Called by POST /v1/resources/{id}/slots. Locks: resource.
-- Raises: what set_answer_timezone raises.
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
  PERFORM set_answer_timezone(ARRAY[p_resource_id], 'UTC');
  -- whoever makes several slots of a resource has it locked: in the unique index two would meet in any order
  PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;

  WITH created AS (
    INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings, max_units, created_at, updated_at)
    SELECT p_resource_id, g.starts_at, g.ends_at, g.max_bookings, g.max_units, p_now, p_now
    FROM jsonb_to_recordset(p_slots) AS g (
      starts_at timestamptz, ends_at timestamptz, max_bookings integer, max_units integer
    )
    ON CONFLICT (resource_id, starts_at, ends_at) DO NOTHING
    RETURNING id
  )
  SELECT COALESCE(array_agg(id), '{}') INTO v_created FROM created;

  RETURN json_build_object(
    'created', cardinality(v_created),
    'kept', jsonb_array_length(p_slots) - cardinality(v_created),
    'slots', (
      SELECT COALESCE(json_agg(to_json(o)), '[]')
      FROM slot_offers(
        NULL,
        NULL,
        NULL,
        ARRAY(
          SELECT s.id
          FROM slots s
          JOIN jsonb_to_recordset(p_slots) AS g (starts_at timestamptz, ends_at timestamptz)
            ON s.starts_at = g.starts_at AND s.ends_at = g.ends_at
          WHERE s.resource_id = p_resource_id
        ),
        1,
        p_now
      ) o
    )
  );
END
$$""",
    ),
    Change(
        "functions/apply_schedule_plan",
        None,
        r"""-- Promises: the slots of a resource are as the plan says. Called by refresh_future_schedule, which has locked them.
CREATE OR REPLACE FUNCTION apply_schedule_plan(
  p_resource_id uuid, p_plan slot_change[], p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  DELETE FROM slots s USING unnest(p_plan) p WHERE s.id = p.slot_id AND p.action = 'removed';

  UPDATE slots s
  SET is_legacy = true, updated_at = p_now
  FROM unnest(p_plan) p
  WHERE s.id = p.slot_id AND p.action = 'legacy';

  UPDATE slots s
  SET max_bookings = p.max_bookings,
      max_units = p.max_units,
      is_legacy = false,
      source = 'schedule',
      updated_at = p_now
  FROM unnest(p_plan) p
  WHERE s.id = p.slot_id AND p.action = 'updated';

  INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings, max_units, source, created_at, updated_at)
  SELECT p_resource_id, p.starts_at, p.ends_at, p.max_bookings, p.max_units, 'schedule', p_now, p_now
  FROM unnest(p_plan) p
  WHERE p.action = 'created'
  ORDER BY p.starts_at
  ON CONFLICT (resource_id, starts_at, ends_at) DO NOTHING;
END
$$""",
    ),
    Change(
        "functions/arm_schedule_refresh",
        None,
        r"""-- Promises: one pending job refreshes the schedule again after the next midnight in the resource's zone; one that was
-- due is done. Called by refresh_future_schedule, so that the horizon rolls on by itself. Locks: the resource's job.
CREATE OR REPLACE FUNCTION arm_schedule_refresh(p_resource_id uuid, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_next timestamptz := (
    SELECT ((p_now AT TIME ZONE r.timezone)::date + 1)::timestamp AT TIME ZONE r.timezone
    FROM resources r WHERE r.id = p_resource_id
  );
BEGIN
  UPDATE jobs j
  SET status = 'processed', processed_at = p_now, updated_at = p_now
  WHERE j.dedupe_key = p_resource_id::text AND j.job_type = 'refresh_schedule' AND j.status = 'pending'
    AND j.run_at <= p_now;

  INSERT INTO jobs AS j (job_type, dedupe_key, scheduled_at, run_at, created_at, updated_at)
  VALUES ('refresh_schedule', p_resource_id::text, v_next, v_next, p_now, p_now)
  ON CONFLICT (job_type, dedupe_key) WHERE status = 'pending' DO UPDATE
    SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at
    WHERE j.run_at <> EXCLUDED.run_at;
END
$$""",
    ),
    Change(
        "functions/available_slots",
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
        r"""-- Promises: the slots of these resources that start in [p_from, p_to), by start, and an ETag that changes when any of
-- them does; no body where the caller has that one already: then nothing but slots was read, and no JSON made.
-- Called by GET /v1/available-slots. Raises: SB009 resource_not_found, 22023 for an unknown time zone.
CREATE OR REPLACE FUNCTION available_slots(
  p_resource_ids uuid[] DEFAULT NULL,
  p_from timestamptz DEFAULT NULL,
  p_to timestamptz DEFAULT NULL,
  p_tz text DEFAULT NULL,
  p_units integer DEFAULT 1,
  p_etags text[] DEFAULT '{}',
  p_now timestamptz DEFAULT now(),
  -- an app one version older names a single resource, and takes the first column
  p_resource_id uuid DEFAULT NULL
)
RETURNS TABLE (body json, etag text)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_resource_ids uuid[] := COALESCE(p_resource_ids, ARRAY[p_resource_id]);
  v_timezone text := set_answer_timezone(v_resource_ids, p_tz);
BEGIN
  RETURN QUERY
    WITH offers AS MATERIALIZED (
      SELECT * FROM slot_offers(v_resource_ids, p_from, p_to, NULL, p_units, p_now)
    ), tag AS (
      SELECT to_hex(COALESCE(bit_xor(hash_record_extended(o, 0)), 0) # hashtextextended(v_timezone, count(*))) AS etag
      FROM offers o
    )
    SELECT
      CASE
        WHEN t.etag <> ALL (p_etags) THEN json_build_object(
          'resource_id', CASE WHEN cardinality(v_resource_ids) = 1 THEN v_resource_ids[1] END,
          'timezone', v_timezone,
          'slots', COALESCE((SELECT json_agg(to_json(o)) FROM offers o), '[]')
        )
      END,
      t.etag
    FROM tag t;
END
$$""",
    ),
    Change(
        "functions/book_slot",
        None,
        r"""-- Promises: a booking in a slot that its caller has locked, if newcomers may take it, it has room, and the customer has
-- not reached the limit. Called by create_booking_safe, create_bookings_safe and create_recurring_bookings.
-- Locks: customer, then the new booking and its job. Raises: what require_open_slot, require_room and
-- require_customer_limit raise.
CREATE OR REPLACE FUNCTION book_slot(
  p_actor jsonb,
  p_slot slots,
  p_customer jsonb,
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
  v_customer_id uuid;
BEGIN
  PERFORM require_open_slot(p_actor, p_slot, p_now);
  PERFORM require_room(p_slot, p_units, 1, p_now);
  v_customer_id := upsert_customer(p_customer, p_now);
  PERFORM require_customer_limit(p_actor, p_slot.resource_id, v_customer_id, p_now);
  RETURN place_booking(
    p_slot, v_customer_id, p_units, p_payment_method, p_metadata,
    CASE p_payment_method WHEN 'pay_now' THEN hold_until(p_slot.resource_id, p_now) END, p_now
  );
END
$$""",
    ),
    Change(
        "functions/bookings_offer_places",
        None,
        r"""-- Promises: an offer from a waitlist ends as its booking does, and a place that comes free goes to the next in line, in
-- the transaction that frees it: no newcomer gets in between. Called by triggers bookings_offer_places and
-- slots_offer_places, whoever writes. Locks: slot (mostly held already), entries, then the new booking.
CREATE OR REPLACE FUNCTION bookings_offer_places()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF NEW.status <> OLD.status THEN
    UPDATE waitlist_entries w
    SET status = CASE NEW.status WHEN 'confirmed' THEN 'accepted' WHEN 'cancelled' THEN 'cancelled' ELSE 'expired' END,
        updated_at = NEW.updated_at
    WHERE w.booking_id = NEW.id AND w.status IN ('offered', 'expired');
  END IF;
  PERFORM offer_places(OLD.slot_id, NEW.updated_at);
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/calendar_bookings",
        None,
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
        r"""-- Promises: the booking is cancelled and its place is free again, or nothing changed.
-- Called by POST /v1/bookings/{id}/cancel. Locks: slot, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict,
-- SB015 too_late.
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
  v_actor jsonb := p_actor || jsonb_build_object('reason', p_reason);
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', v_actor::text, true);
  v_booking := lock_booking(p_actor, p_booking_id);

  body := replay_request(p_actor ->> 'id', 'cancel_booking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_transition(p_booking_id, v_booking.status, 'cancelled');
    PERFORM require_before_cutoff(v_actor, v_booking, p_now);

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
        "functions/check_invariants",
        None,
        r"""-- Promises: every promise of the house recounted from its rows: which are broken, by which row; none, or something is
-- badly wrong. Called by GET /v1/invariants and the tests. Reads all slots, bookings, pending jobs and offers.
CREATE OR REPLACE FUNCTION check_invariants(p_limit integer DEFAULT 100)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_report json;
BEGIN
  WITH recount AS (
    SELECT b.slot_id, count(*) AS bookings, sum(b.units) AS units
    FROM bookings b
    WHERE b.status IN ('pending', 'confirmed', 'completed', 'no_show')
    GROUP BY b.slot_id
  ), pending_jobs AS (
    SELECT j.dedupe_key, j.job_type, j.scheduled_at, j.booking_id
    FROM jobs j
    WHERE j.status = 'pending' AND j.booking_id IS NOT NULL
  ), violations AS (
    SELECT 'slot_counters' AS invariant, s.id, json_build_object(
      'booked_bookings', s.booked_bookings, 'booked_units', s.booked_units,
      'recounted_bookings', COALESCE(r.bookings, 0), 'recounted_units', COALESCE(r.units, 0)
    ) AS facts
    FROM slots s
    LEFT JOIN recount r ON r.slot_id = s.id
    WHERE (s.booked_bookings, s.booked_units) IS DISTINCT FROM (COALESCE(r.bookings, 0), COALESCE(r.units, 0))
    UNION ALL
    SELECT 'slot_capacity', s.id, json_build_object(
      'max_bookings', s.max_bookings, 'max_units', s.max_units, 'bookings', r.bookings, 'units', r.units
    )
    FROM slots s
    JOIN recount r ON r.slot_id = s.id
    WHERE r.bookings > s.max_bookings OR r.units > s.max_units
    UNION ALL
    SELECT 'booking_job', COALESCE(b.id, j.booking_id), json_build_object(
      'status', b.status, 'job_type', j.job_type, 'scheduled_at', j.scheduled_at
    )
    FROM (SELECT x.* FROM bookings x WHERE x.status IN ('pending', 'confirmed')) b
    FULL JOIN pending_jobs j ON j.booking_id = b.id
    WHERE (j.job_type, j.scheduled_at) IS DISTINCT FROM (
      CASE b.status WHEN 'confirmed' THEN 'complete_booking' WHEN 'pending' THEN 'expire_booking' END,
      CASE b.status WHEN 'confirmed' THEN b.ends_at ELSE b.expires_at END
    )
    UNION ALL
    SELECT 'waitlist_offer', w.id, json_build_object('booking_id', w.booking_id, 'booking_status', b.status)
    FROM waitlist_entries w
    JOIN bookings b ON b.id = w.booking_id
    WHERE (w.status = 'offered') <> (b.status = 'pending')
    UNION ALL
    SELECT 'schedule_job', c.resource_id, json_build_object('pending_jobs', 0)
    FROM schedules c
    WHERE NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = c.resource_id::text AND j.job_type = 'refresh_schedule' AND j.status = 'pending'
    )
  )
  SELECT json_build_object(
    'checked', json_build_object(
      'slots', (SELECT count(*) FROM slots), 'bookings', (SELECT count(*) FROM bookings),
      'jobs', (SELECT count(*) FROM pending_jobs)
    ),
    'violation_count', (SELECT count(*) FROM violations),
    'violations', COALESCE(
      (
        SELECT json_agg(json_build_object('invariant', v.invariant, 'id', v.id, 'facts', v.facts))
        FROM (SELECT * FROM violations x ORDER BY x.invariant, x.id LIMIT p_limit) v
      ),
      '[]'
    )
  ) INTO v_report;
  RETURN v_report;
END
$$""",
    ),
    Change(
        "functions/close_waitlists",
        None,
        r"""-- Promises: nobody waits for a slot that has begun, or that takes no newcomers any more. Answers how many it told so.
-- Called by the job processor. Locks: entries, SKIP LOCKED.
CREATE OR REPLACE FUNCTION close_waitlists(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_closed integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  WITH over AS MATERIALIZED (
    SELECT w.id
    FROM waitlist_entries w
    JOIN slots s ON s.id = w.slot_id
    WHERE w.status = 'waiting' AND (s.starts_at <= p_now OR s.is_legacy)
    LIMIT p_limit
    FOR NO KEY UPDATE OF w SKIP LOCKED
  )
  UPDATE waitlist_entries w
  SET status = 'closed', updated_at = p_now
  FROM over o
  WHERE w.id = o.id;
  GET DIAGNOSTICS v_closed = ROW_COUNT;
  RETURN v_closed;
END
$$""",
    ),
    Change(
        "functions/confirm_booking",
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
  v_booking := lock_booking(p_actor, p_booking_id);

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
        r"""-- Promises: a booking is made only while its slot has room, and only once per idempotency key.
-- Called by POST /v1/bookings. Locks: slot, customer (if it changes), then the new booking and its job.
-- Raises: SB001 slot_not_found, SB010 idempotency_conflict, what book_slot raises. A refusal leaves nothing behind.
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
  v_customer jsonb := own_customer(p_actor, p_customer);
  v_slot slots;
  v_booking bookings;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_slot := lock_slot(p_slot_id);

  body := replay_request(p_actor ->> 'id', 'create_booking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    v_booking := book_slot(p_actor, v_slot, v_customer, p_units, p_payment_method, p_metadata, p_now);
    body := booking_json(v_booking, v_customer ->> 'ref');
    PERFORM remember_request(p_actor ->> 'id', 'create_booking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  booking_id := (body ->> 'id')::uuid;
  booking_version := (body ->> 'version')::integer;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/create_bookings_safe",
        None,
        r"""-- Promises: all of these bookings are made, or none; what several of them ask of one slot is summed before it is compared.
-- Called by POST /v1/bookings/batch. Locks: slots by id, customer, then the new bookings and their jobs.
-- Raises: SB001 slot_not_found, SB010 idempotency_conflict, what book_slot raises. A refusal leaves nothing behind.
CREATE OR REPLACE FUNCTION create_bookings_safe(
  p_actor jsonb,
  p_items jsonb,
  p_customer jsonb,
  p_payment_method text DEFAULT 'pay_on_arrival',
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer jsonb := own_customer(p_actor, p_customer);
  v_demand record;
  v_item record;
  v_bookings json[] := ARRAY[]::json[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM FROM slots s
  WHERE s.id IN (SELECT (i ->> 'slot_id')::uuid FROM jsonb_array_elements(p_items) i)
  ORDER BY s.id
  FOR NO KEY UPDATE;

  body := replay_request(p_actor ->> 'id', 'create_bookings', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    FOR v_demand IN
      SELECT i.slot_id, sum(i.units)::integer AS units, count(*)::integer AS bookings
      FROM jsonb_to_recordset(p_items) AS i (slot_id uuid, units integer)
      GROUP BY i.slot_id
      ORDER BY i.slot_id
    LOOP
      PERFORM require_room(lock_slot(v_demand.slot_id), v_demand.units, v_demand.bookings, p_now);
    END LOOP;

    FOR v_item IN
      SELECT * FROM jsonb_to_recordset(p_items) AS i (slot_id uuid, units integer, metadata jsonb)
    LOOP
      v_bookings := v_bookings || booking_json(
        book_slot(
          p_actor, lock_slot(v_item.slot_id), v_customer, v_item.units, p_payment_method, v_item.metadata, p_now
        ),
        v_customer ->> 'ref'
      );
    END LOOP;
    body := json_build_object('bookings', array_to_json(v_bookings));
    PERFORM remember_request(p_actor ->> 'id', 'create_bookings', p_idempotency_key, p_request_hash, body, p_now);
  END IF;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/create_recurring_bookings",
        None,
        r"""-- Promises: one booking for each occurrence of a series that begins with this slot. With p_on_conflict 'refuse' all or
-- none, with 'skip' those that can be had; the answer reports every occurrence. At least one, or it is refused.
-- Called by POST /v1/bookings/recurring. Locks: slots by id, customer, then the new bookings and their jobs.
-- Raises: SB001 slot_not_found, SB010 idempotency_conflict, what book_slot raises.
CREATE OR REPLACE FUNCTION create_recurring_bookings(
  p_actor jsonb,
  p_slot_id uuid,
  p_customer jsonb,
  p_every_days integer,
  p_count integer,
  p_on_conflict text DEFAULT 'refuse',
  p_units integer DEFAULT 1,
  p_payment_method text DEFAULT 'pay_on_arrival',
  p_metadata jsonb DEFAULT '{}',
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer jsonb := own_customer(p_actor, p_customer);
  v_first slots;
  v_slot_ids uuid[];
  v_occurrence record;
  v_booking json;
  v_code text;
  v_report json[] := ARRAY[]::json[];
  v_booked integer := 0;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  SELECT * INTO v_first FROM slots s WHERE s.id = p_slot_id;
  v_slot_ids := ARRAY(SELECT o.slot_id FROM recurring_slots(v_first, p_every_days, p_count) o);
  PERFORM FROM slots s
  WHERE s.id = p_slot_id OR s.id = ANY (v_slot_ids)
  ORDER BY s.id
  FOR NO KEY UPDATE;
  v_first := lock_slot(p_slot_id);

  body := replay_request(p_actor ->> 'id', 'create_recurring_bookings', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    FOR v_occurrence IN SELECT * FROM recurring_slots(v_first, p_every_days, p_count) LOOP
      BEGIN
        v_booking := NULL;
        v_code := NULL;
        -- one made while we waited comes too late: its lock would be out of order
        IF (v_occurrence.slot_id = ANY (v_slot_ids)) IS NOT TRUE THEN
          RAISE EXCEPTION 'slot_not_found' USING ERRCODE = 'SB001',
            DETAIL = json_build_object('occurrence', v_occurrence.occurrence, 'local_start', v_occurrence.local_start);
        END IF;
        v_booking := booking_json(
          book_slot(
            p_actor, lock_slot(v_occurrence.slot_id), v_customer, p_units, p_payment_method, p_metadata, p_now
          ),
          v_customer ->> 'ref'
        );
        v_booked := v_booked + 1;
      EXCEPTION
        WHEN SQLSTATE 'SB001' OR SQLSTATE 'SB002' OR SQLSTATE 'SB003' OR SQLSTATE 'SB004' OR SQLSTATE 'SB008'
          OR SQLSTATE 'SB011' OR SQLSTATE 'SB015' OR SQLSTATE 'SB018'
        THEN
          -- the last chance of a series without a single booking is refused as it stands
          IF p_on_conflict = 'refuse' OR v_booked = 0 AND v_occurrence.occurrence = p_count THEN
            RAISE;
          END IF;
          v_code := SQLERRM;
      END;
      v_report := v_report || json_build_object(
        'occurrence', v_occurrence.occurrence, 'local_start', v_occurrence.local_start,
        'slot_id', v_occurrence.slot_id, 'code', v_code, 'booking', v_booking
      );
    END LOOP;
    body := json_build_object('booked', v_booked, 'occurrences', array_to_json(v_report));
    PERFORM remember_request(
      p_actor ->> 'id', 'create_recurring_bookings', p_idempotency_key, p_request_hash, body, p_now
    );
  END IF;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/due_jobs",
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
  WHERE j.job_type IN ('complete_booking', 'expire_booking', 'refresh_schedule')
    AND j.status = 'pending' AND j.run_at <= p_now
$$""",
    ),
    Change(
        "functions/get_booking",
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
        r"""-- Promises: one booking as the API answers it; of that customer alone, where one is given.
-- Called by GET /v1/bookings/{id}. Raises: SB005 booking_not_found.
CREATE OR REPLACE FUNCTION get_booking(p_booking_id uuid, p_customer_ref text DEFAULT NULL)
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
    WHERE b.id = p_booking_id AND (p_customer_ref IS NULL OR c.ref = p_customer_ref);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'booking_not_found' USING ERRCODE = 'SB005',
      DETAIL = json_build_object('booking_id', p_booking_id);
  END IF;
END
$$""",
    ),
    Change(
        "functions/get_schedule",
        None,
        r"""-- Promises: the rules of a resource, with its exceptions from today on. Called by GET /v1/resources/{id}/schedule.
-- Raises: SB009 resource_not_found, SB016 schedule_not_found.
CREATE OR REPLACE FUNCTION get_schedule(p_resource_id uuid, p_now timestamptz DEFAULT now())
RETURNS TABLE (schedule_version integer, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM get_resource(p_resource_id);
  RETURN QUERY
    SELECT c.version, (
      to_jsonb(c) || jsonb_build_object(
        'opens_at_local', to_char(c.opens_at_local, 'HH24:MI'),
        'timezone', r.timezone,
        'exceptions', COALESCE(
          (
            SELECT jsonb_agg(jsonb_build_object('date', e.date, 'hours', e.hours) ORDER BY e.date)
            FROM schedule_exceptions e
            WHERE e.resource_id = p_resource_id AND e.date >= (p_now AT TIME ZONE r.timezone)::date
          ),
          '[]'
        )
      )
    )::json
    FROM schedules c
    JOIN resources r ON r.id = c.resource_id
    WHERE c.resource_id = p_resource_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'schedule_not_found' USING ERRCODE = 'SB016',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;
END
$$""",
    ),
    Change(
        "functions/get_waitlist_entry",
        None,
        r"""-- Promises: one place in line as the API answers it; of that customer alone, where one is given.
-- Called by GET /v1/waitlist/{id} and lock_waitlist_entry. Raises: SB019 waitlist_entry_not_found.
CREATE OR REPLACE FUNCTION get_waitlist_entry(p_entry_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry waitlist_entries;
BEGIN
  SELECT w.* INTO v_entry
  FROM waitlist_entries w
  JOIN customers c ON c.id = w.customer_id
  WHERE w.id = p_entry_id AND (p_customer_ref IS NULL OR c.ref = p_customer_ref);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'waitlist_entry_not_found' USING ERRCODE = 'SB019',
      DETAIL = json_build_object('waitlist_entry_id', p_entry_id);
  END IF;
  RETURN waitlist_entry_json(v_entry);
END
$$""",
    ),
    Change(
        "functions/given_slots",
        None,
        r"""-- Promises: the slots with these ids, legacy ones too, as availability answers them; ids of no slot are left out.
-- Called by GET /v1/slots. Raises: 22023 for an unknown time zone.
CREATE OR REPLACE FUNCTION given_slots(
  p_slot_ids uuid[], p_tz text DEFAULT NULL, p_units integer DEFAULT 1, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_timezone text := set_answer_timezone(
    ARRAY(SELECT DISTINCT s.resource_id FROM slots s WHERE s.id = ANY (p_slot_ids)), p_tz
  );
BEGIN
  RETURN json_build_object(
    'timezone', v_timezone,
    'slots', COALESCE(
      (SELECT json_agg(to_json(o)) FROM slot_offers(NULL, NULL, NULL, p_slot_ids, p_units, p_now) o), '[]'
    )
  );
END
$$""",
    ),
    Change(
        "functions/hold_until",
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
        r"""-- Promises: when a hold taken now ends: by the resource's rule, a quarter of an hour without one.
-- Called by create_booking_safe, its likes for several slots, and import_booking.
CREATE OR REPLACE FUNCTION hold_until(p_resource_id uuid, p_now timestamptz DEFAULT now())
RETURNS timestamptz
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN p_now + make_interval(
    mins => COALESCE((SELECT c.hold_minutes FROM schedules c WHERE c.resource_id = p_resource_id), 15)
  );
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
    CASE v_row.status WHEN 'pending' THEN hold_until(v_slot.resource_id, p_now) END,
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
      PERFORM set_config('holdfast.growth_is_taken', 'on', true);
      UPDATE slots s
      SET max_bookings = GREATEST(s.max_bookings, s.booked_bookings + 1), updated_at = p_now
      WHERE s.id = v_slot.id AND s.booked_bookings = s.max_bookings;
      PERFORM set_config('holdfast.growth_is_taken', '', true);
    ELSE
      PERFORM require_room(v_slot, v_row.units, 1, p_now);
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
        "functions/join_waitlist",
        None,
        r"""-- Promises: the customer stands in the slot's line, once; where there is room already, the answer is an offer.
-- Called by POST /v1/waitlist. Locks: slot, customer (if it changes), entry, then the new booking.
-- Raises: SB001 slot_not_found, what require_open_slot and require_customer_limit raise.
CREATE OR REPLACE FUNCTION join_waitlist(
  p_actor jsonb,
  p_slot_id uuid,
  p_customer jsonb,
  p_units integer DEFAULT 1,
  p_payment_method text DEFAULT 'pay_on_arrival',
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (entry_id uuid, body json)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot slots;
  v_customer_id uuid;
  v_entry waitlist_entries;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_slot := lock_slot(p_slot_id);
  PERFORM require_open_slot(p_actor, v_slot, p_now);
  v_customer_id := upsert_customer(own_customer(p_actor, p_customer), p_now);
  -- a hold whose time is over goes to the line as it stands; it may be this customer's own offer
  PERFORM expire_slot_holds(p_slot_id, p_now);

  PERFORM FROM waitlist_entries w
  WHERE w.slot_id = p_slot_id AND w.customer_id = v_customer_id AND w.status IN ('waiting', 'offered');
  IF NOT FOUND THEN
    -- no exception for an admin: nobody is asked when the place comes free
    PERFORM require_customer_limit(p_actor - 'reason', v_slot.resource_id, v_customer_id, p_now);
    INSERT INTO waitlist_entries (slot_id, customer_id, units, payment_method, created_at, updated_at)
    VALUES (p_slot_id, v_customer_id, p_units, p_payment_method, p_now, p_now);
    PERFORM offer_places(p_slot_id, p_now);
  END IF;

  SELECT * INTO v_entry
  FROM waitlist_entries w
  WHERE w.slot_id = p_slot_id AND w.customer_id = v_customer_id
  ORDER BY w.place_in_line DESC
  LIMIT 1;
  entry_id := v_entry.id;
  body := waitlist_entry_json(v_entry);
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/leave_waitlist",
        None,
        r"""-- Promises: the customer stands in that line no more; a place that was offered goes to the next. Leaving twice is once.
-- Called by POST /v1/waitlist/{id}/leave. Locks: slots by id, entry, booking, then its jobs.
-- Raises: SB007 invalid_transition, what lock_waitlist_entry raises.
CREATE OR REPLACE FUNCTION leave_waitlist(p_actor jsonb, p_entry_id uuid, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry waitlist_entries;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_entry := lock_waitlist_entry(p_actor, p_entry_id);
  CASE v_entry.status
    WHEN 'waiting' THEN
      UPDATE waitlist_entries w SET status = 'cancelled', updated_at = p_now WHERE w.id = p_entry_id;
    WHEN 'offered' THEN
      -- the entry follows by trigger
      UPDATE bookings b SET status = 'cancelled', updated_at = p_now WHERE b.id = v_entry.booking_id;
    WHEN 'cancelled' THEN
      NULL;
    ELSE
      RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
        DETAIL = json_build_object('waitlist_entry_id', p_entry_id, 'from', v_entry.status, 'to', 'cancelled');
  END CASE;
  RETURN get_waitlist_entry(p_entry_id);
END
$$""",
    ),
    Change(
        "functions/list_bookings",
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
        r"""-- Promises: one page of the bookings that pass every given filter, by start, and the next page's cursor or null.
-- Called by GET /v1/bookings. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_bookings(
  p_status text DEFAULT NULL,
  p_resource_id uuid DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_from timestamptz DEFAULT NULL,
  p_to timestamptz DEFAULT NULL,
  p_updated_since timestamptz DEFAULT NULL,
  p_metadata jsonb DEFAULT NULL,
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
      AND (NULLIF(p_metadata, '{}') IS NULL OR b.metadata @> p_metadata AND b.metadata <> '{}')
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
        "functions/list_payment_events",
        None,
        r"""-- Promises: one page of what payment providers told us, by event id, and the cursor of the next page or null.
-- Called by GET /v1/payment-events.
CREATE OR REPLACE FUNCTION list_payment_events(
  p_outcome text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_after text := COALESCE(convert_from(decode(p_cursor, 'hex'), 'UTF8'), '');
  v_page payment_events[];
BEGIN
  v_page := ARRAY(
    SELECT e
    FROM payment_events e
    WHERE e.id > v_after AND (p_outcome IS NULL OR e.outcome = p_outcome)
    ORDER BY e.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE((SELECT json_agg(payment_event_json(e) ORDER BY e.id) FROM unnest(v_page[:p_limit]) e), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN encode(convert_to(v_page[p_limit].id, 'UTF8'), 'hex') END
  );
END
$$""",
    ),
    Change(
        "functions/list_resources",
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
    'items', COALESCE(
      (SELECT json_agg(resource_json(r) ORDER BY r.created_at, r.id) FROM unnest(v_page[:p_limit]) r), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/list_waitlist",
        None,
        r"""-- Promises: one page of the places in line that pass every filter, in order of joining, and the next page's cursor.
-- Called by GET /v1/waitlist. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_waitlist(
  p_slot_id uuid DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_status text DEFAULT NULL,
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
  v_page waitlist_entries[];
BEGIN
  v_page := ARRAY(
    SELECT w
    FROM waitlist_entries w
    WHERE (w.created_at, w.id) > (v_after.at, v_after.id)
      AND (p_slot_id IS NULL OR w.slot_id = p_slot_id)
      AND (p_customer_ref IS NULL OR w.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref))
      AND (p_status IS NULL OR w.status = p_status)
    ORDER BY w.created_at, w.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (SELECT json_agg(waitlist_entry_json(w) ORDER BY w.created_at, w.id) FROM unnest(v_page[:p_limit]) w), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/live_bookings",
        None,
        r"""-- Promises: how many bookings of the customer at that resource count towards its limit: confirmed or held, and not over.
-- Called by require_customer_limit and offer_places. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION live_bookings(p_resource_id uuid, p_customer_id uuid, p_now timestamptz)
RETURNS bigint
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN (
  SELECT count(*)
  FROM bookings b
  WHERE b.customer_id = p_customer_id AND b.resource_id = p_resource_id AND b.ends_at > p_now
    AND (b.status = 'confirmed' OR b.expires_at > p_now)
)""",
    ),
    Change(
        "functions/lock_booking",
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
        r"""-- Promises: the booking's row, locked after its slot's, so that every writer takes them in the same order; and after the
-- slot it is to go to, if one is given, both in the order of their ids: two moves that cross cannot deadlock.
-- Called by every function that changes one booking. Locks: slots by id, booking.
-- Raises: SB005 booking_not_found (also where it is not the customer's whose token it is), SB006 version_conflict (the
-- booking moved to another slot while we waited).
CREATE OR REPLACE FUNCTION lock_booking(p_actor jsonb, p_booking_id uuid, p_next_slot_id uuid DEFAULT NULL)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot_id uuid;
  v_booking bookings;
BEGIN
  SELECT b.slot_id INTO v_slot_id
  FROM bookings b
  JOIN customers c ON c.id = b.customer_id
  WHERE b.id = p_booking_id AND COALESCE(c.ref = p_actor ->> 'customer_ref', p_actor ->> 'customer_ref' IS NULL);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'booking_not_found' USING ERRCODE = 'SB005',
      DETAIL = json_build_object('booking_id', p_booking_id);
  END IF;

  PERFORM FROM slots s WHERE s.id IN (v_slot_id, p_next_slot_id) ORDER BY s.id FOR NO KEY UPDATE;
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
        "functions/lock_waitlist_entry",
        None,
        r"""-- Promises: the place in line, locked after its slot and the slot to which its booking may have moved since.
-- Called by accept_offer and leave_waitlist. Locks: slots by id, entry.
-- Raises: SB019 waitlist_entry_not_found (also where it is not the customer's whose token it is), SB006 version_conflict
-- (the booking moved to another slot while we waited).
CREATE OR REPLACE FUNCTION lock_waitlist_entry(p_actor jsonb, p_entry_id uuid)
RETURNS waitlist_entries
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot_ids uuid[];
  v_entry waitlist_entries;
  v_moved bookings;
BEGIN
  PERFORM get_waitlist_entry(p_entry_id, p_actor ->> 'customer_ref');
  v_slot_ids := ARRAY(
    SELECT unnest(ARRAY[w.slot_id, b.slot_id])
    FROM waitlist_entries w
    LEFT JOIN bookings b ON b.id = w.booking_id
    WHERE w.id = p_entry_id
  );
  PERFORM FROM slots s WHERE s.id = ANY (v_slot_ids) ORDER BY s.id FOR NO KEY UPDATE;
  SELECT * INTO v_entry FROM waitlist_entries w WHERE w.id = p_entry_id FOR NO KEY UPDATE;
  SELECT * INTO v_moved FROM bookings b WHERE b.id = v_entry.booking_id AND b.slot_id <> ALL (v_slot_ids);
  IF FOUND THEN
    RAISE EXCEPTION 'version_conflict' USING ERRCODE = 'SB006',
      DETAIL = json_build_object('booking_id', v_moved.id, 'current_version', v_moved.version);
  END IF;
  RETURN v_entry;
END
$$""",
    ),
    Change(
        "functions/mark_no_show",
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
  v_booking := lock_booking(p_actor, p_booking_id);

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
        "functions/may_override",
        None,
        r"""-- Promises: whether the caller may pass over rules of the house (notice, window, cut-off, limit a customer): an admin
-- who gives a reason, which the audit trail keeps. Nobody passes over capacity. Called by the require_* functions.
CREATE OR REPLACE FUNCTION may_override(p_actor jsonb)
RETURNS boolean
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN COALESCE(p_actor ->> 'type' = 'admin' AND p_actor ->> 'reason' <> '', false)""",
    ),
    Change(
        "functions/offer_places",
        None,
        r"""-- Promises: while a slot has room, the first in its line whom it would hold, and who may, is offered a place: a real hold for a set
-- time. Called by triggers, when a place comes free, and by join_waitlist. Locks: slot, entry, then the new booking.
CREATE OR REPLACE FUNCTION offer_places(p_slot_id uuid, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_actor text := current_setting('holdfast.actor', true);
  v_slot slots;
  v_rules schedules;
  v_entry waitlist_entries;
  v_booking bookings;
  v_until timestamptz;
BEGIN
  SELECT c.* INTO v_rules FROM schedules c JOIN slots s ON s.resource_id = c.resource_id WHERE s.id = p_slot_id;
  WHILE EXISTS (SELECT FROM waitlist_entries w WHERE w.slot_id = p_slot_id AND w.status = 'waiting') LOOP
    v_slot := lock_slot(p_slot_id);
    EXIT WHEN v_slot.is_legacy OR v_slot.starts_at <= p_now OR v_slot.booked_bookings >= v_slot.max_bookings;
    SELECT * INTO v_entry
    FROM waitlist_entries w
    WHERE w.slot_id = p_slot_id AND w.status = 'waiting'
      AND w.units <= COALESCE(v_slot.max_units - v_slot.booked_units, w.units)
      -- who has as many as the rules allow loses this turn, not the place in line
      AND (
        v_rules.max_bookings_per_customer IS NULL
        OR live_bookings(v_slot.resource_id, w.customer_id, p_now) < v_rules.max_bookings_per_customer
      )
    ORDER BY w.place_in_line
    LIMIT 1
    FOR NO KEY UPDATE;
    EXIT WHEN NOT FOUND;

    -- not who gave the place back: the line itself offers it
    PERFORM set_config(
      'holdfast.actor',
      jsonb_build_object(
        'type', 'system', 'id', 'waitlist', 'request_id', NULLIF(v_actor, '')::jsonb ->> 'request_id'
      )::text,
      true
    );
    v_until := p_now + make_interval(mins => COALESCE(v_rules.offer_minutes, 60));
    v_booking := place_booking(
      v_slot, v_entry.customer_id, v_entry.units, v_entry.payment_method, '{}', LEAST(v_until, v_slot.starts_at), p_now
    );
    UPDATE waitlist_entries w
    SET status = 'offered', booking_id = v_booking.id, updated_at = p_now
    WHERE w.id = v_entry.id;
    PERFORM set_config('holdfast.actor', COALESCE(v_actor, ''), true);
  END LOOP;
END
$$""",
    ),
    Change(
        "functions/own_customer",
        None,
        r"""-- Promises: the customer that a booking is for: who a customer's own token names, whatever the request says; else the
-- one in the request. Called by every entry function that takes a customer.
CREATE OR REPLACE FUNCTION own_customer(p_actor jsonb, p_customer jsonb)
RETURNS jsonb
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN p_customer || CASE
  WHEN p_actor ->> 'customer_ref' IS NULL THEN '{}'
  ELSE jsonb_build_object('ref', p_actor ->> 'customer_ref')
END""",
    ),
    Change(
        "functions/payment_event_json",
        None,
        r"""-- Promises: the one JSON shape of a payment event; action is what a person has to do about it, if anything.
-- Called by record_payment_event and list_payment_events.
CREATE OR REPLACE FUNCTION payment_event_json(p_event payment_events)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_event.id,
    'event_type', p_event.event_type,
    'booking_id', p_event.booking_id,
    'payment_status', p_event.payment_status,
    'outcome', p_event.outcome,
    'action', CASE
      WHEN p_event.payment_status = 'paid' AND p_event.outcome IN ('hold_expired', 'invalid_transition') THEN 'refund'
      WHEN p_event.payment_status = 'paid' AND p_event.outcome = 'booking_not_found' THEN 'find_booking'
    END,
    'created_at', p_event.created_at
  );
END
$$""",
    ),
    Change(
        "functions/place_booking",
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
        r"""-- Promises: the new booking's row: confirmed, or a hold until p_expires_at where that is given.
-- Called by book_slot and offer_places, which have locked the slot and found room in it.
CREATE OR REPLACE FUNCTION place_booking(
  p_slot slots,
  p_customer_id uuid,
  p_units integer,
  p_payment_method text,
  p_metadata jsonb,
  p_expires_at timestamptz,
  p_now timestamptz DEFAULT now()
)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
BEGIN
  INSERT INTO bookings (
    resource_id, slot_id, starts_at, ends_at, customer_id, units, payment_method, metadata,
    status, expires_at, created_at, placed_at, updated_at
  )
  VALUES (
    p_slot.resource_id, p_slot.id, p_slot.starts_at, p_slot.ends_at, p_customer_id,
    p_units, p_payment_method, p_metadata,
    CASE WHEN p_expires_at IS NULL THEN 'confirmed' ELSE 'pending' END, p_expires_at, p_now, p_now, p_now
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
  WITH old AS MATERIALIZED (
    SELECT o.principal, o.operation, o.key
    FROM idempotency_keys o
    WHERE o.created_at < p_now - p_keep
    LIMIT p_limit
    FOR UPDATE SKIP LOCKED
  )
  DELETE FROM idempotency_keys k
  USING old
  WHERE (k.principal, k.operation, k.key) = (old.principal, old.operation, old.key);
  GET DIAGNOSTICS v_pruned = ROW_COUNT;
  RETURN v_pruned;
END
$$""",
    ),
    Change(
        "functions/put_exception",
        None,
        r"""-- Promises: that date has these hours and no others (none: closed); p_hours NULL puts the weekly hours back. The coming
-- slots follow, if the resource has a schedule; or, as a dry run, the same answer and nothing changed.
-- Called by PUT and DELETE /v1/resources/{id}/exceptions/{date}. Locks: resource, schedule, then what refresh_future_schedule locks.
-- Raises: SB009 resource_not_found, SB016 schedule_not_found, SB017 invalid_hours.
CREATE OR REPLACE FUNCTION put_exception(
  p_actor jsonb,
  p_resource_id uuid,
  p_date date,
  p_hours jsonb DEFAULT NULL,
  p_dry_run boolean DEFAULT false,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_schedule schedules;
  v_new schedule_exceptions;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_resource(p_resource_id);
  IF p_dry_run THEN
    PERFORM require_hours(p_hours, false), get_schedule(p_resource_id, p_now);
    SELECT * INTO v_schedule FROM schedules c WHERE c.resource_id = p_resource_id;
    v_new := ROW(p_resource_id, p_date, p_hours, p_now, p_now);
    RETURN schedule_plan_json(
      ARRAY(
        SELECT p
        FROM schedule_plan(
          v_schedule,
          ARRAY(SELECT e FROM schedule_exceptions e WHERE e.resource_id = p_resource_id AND e.date <> p_date)
            || CASE WHEN p_hours IS NOT NULL THEN ARRAY[v_new] END,
          p_now
        ) p
      ),
      true
    );
  END IF;

  -- first, as everywhere: the exception belongs to the rules that the schedule stands for
  PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  PERFORM FROM schedules c WHERE c.resource_id = p_resource_id FOR NO KEY UPDATE;
  IF p_hours IS NULL THEN
    DELETE FROM schedule_exceptions e WHERE e.resource_id = p_resource_id AND e.date = p_date;
  ELSE
    INSERT INTO schedule_exceptions AS e (resource_id, date, hours, created_at, updated_at)
    VALUES (p_resource_id, p_date, p_hours, p_now, p_now)
    ON CONFLICT (resource_id, date) DO UPDATE SET hours = EXCLUDED.hours, updated_at = EXCLUDED.updated_at
      WHERE e.hours <> EXCLUDED.hours;
  END IF;
  RETURN refresh_future_schedule(p_actor, p_resource_id, p_now);
END
$$""",
    ),
    Change(
        "functions/put_schedule",
        None,
        r"""-- Promises: the resource has exactly these rules, and its coming slots follow; or, as a dry run, the same answer and
-- nothing changed. The same rules again change nothing. Called by PUT /v1/resources/{id}/schedule.
-- Locks: resource, schedule, then what refresh_future_schedule locks. Raises: SB009 resource_not_found, SB017 invalid_hours.
CREATE OR REPLACE FUNCTION put_schedule(
  p_actor jsonb, p_resource_id uuid, p_rules jsonb, p_dry_run boolean DEFAULT false, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_not_rules CONSTANT text[] := ARRAY['version', 'created_at', 'updated_at'];
  v_old schedules;
  v_new schedules;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_resource(p_resource_id);
  v_new := jsonb_populate_record(NULL::schedules, p_rules || jsonb_build_object('resource_id', p_resource_id));
  IF p_dry_run THEN
    PERFORM require_hours(v_new.weekly, true);
    RETURN schedule_plan_json(
      ARRAY(
        SELECT p
        FROM schedule_plan(
          v_new, ARRAY(SELECT e FROM schedule_exceptions e WHERE e.resource_id = p_resource_id), p_now
        ) p
      ),
      true
    );
  END IF;

  -- a resource has no schedule to lock before its first
  PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  SELECT * INTO v_old FROM schedules c WHERE c.resource_id = p_resource_id FOR NO KEY UPDATE;
  v_new.version := COALESCE(v_old.version, 0) + 1;
  v_new.created_at := COALESCE(v_old.created_at, p_now);
  v_new.updated_at := p_now;
  IF v_old IS NULL THEN
    INSERT INTO schedules SELECT v_new.*;
  ELSIF to_jsonb(v_old) - c_not_rules <> to_jsonb(v_new) - c_not_rules THEN
    UPDATE schedules c
    SET (weekly, slot_minutes, max_bookings, max_units, horizon_days, min_notice_minutes, booking_window_days,
         opens_at_local, cancel_cutoff_minutes, hold_minutes, offer_minutes, max_bookings_per_customer, version, updated_at)
      = (v_new.weekly, v_new.slot_minutes, v_new.max_bookings, v_new.max_units, v_new.horizon_days,
         v_new.min_notice_minutes, v_new.booking_window_days, v_new.opens_at_local, v_new.cancel_cutoff_minutes,
         v_new.hold_minutes, v_new.offer_minutes, v_new.max_bookings_per_customer, v_new.version, v_new.updated_at)
    WHERE c.resource_id = p_resource_id;
  END IF;
  RETURN refresh_future_schedule(p_actor, p_resource_id, p_now);
END
$$""",
    ),
    Change(
        "functions/record_payment",
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
  v_booking := lock_booking(p_actor, p_booking_id);

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
        "functions/record_payment_event",
        None,
        r"""-- Promises: what a payment provider tells of a booking is on record once, with what became of it; it is never refused,
-- for the provider would only repeat it: money that came for a place that is gone is an outcome to look for.
-- Called by POST /v1/payment-events/stripe. Locks: slot, booking, then its jobs.
CREATE OR REPLACE FUNCTION record_payment_event(
  p_actor jsonb,
  p_event_id text,
  p_event_type text,
  p_booking_id uuid,
  p_payment_status text,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_event payment_events;
  v_booking bookings;
  v_outcome text := 'recorded';
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  BEGIN
    v_booking := lock_booking(p_actor, p_booking_id);
  EXCEPTION
    WHEN SQLSTATE 'SB005' THEN
      v_outcome := 'booking_not_found';
  END;
  SELECT * INTO v_event FROM payment_events e WHERE e.id = p_event_id;
  IF FOUND THEN
    RETURN payment_event_json(v_event);
  END IF;

  IF p_payment_status IS NULL THEN
    v_outcome := 'ignored';
  ELSIF v_booking.payment_status = p_payment_status OR (v_booking.payment_status, p_payment_status) = ('refunded', 'paid') THEN
    -- a provider tells of one payment more than once, and not in order
    v_outcome := 'unchanged';
  ELSIF v_booking.id IS NOT NULL THEN
    BEGIN
      PERFORM record_payment(p_actor, p_booking_id, v_booking.version, p_payment_status, p_now => p_now);
    EXCEPTION
      WHEN SQLSTATE 'SB007' OR SQLSTATE 'SB013' THEN
        v_outcome := SQLERRM;
    END;
  END IF;

  INSERT INTO payment_events AS e (id, event_type, booking_id, payment_status, outcome, created_at)
  VALUES (p_event_id, p_event_type, p_booking_id, p_payment_status, v_outcome, p_now)
  ON CONFLICT (id) DO UPDATE SET id = e.id
  RETURNING * INTO v_event;
  RETURN payment_event_json(v_event);
END
$$""",
    ),
    Change(
        "functions/recurring_slots",
        None,
        r"""-- Promises: the times of each occurrence of a series that begins with this slot, and the open slot that has them, or
-- none: same resource, same length, same wall-clock time every so many days; NULL times where the clocks skip them.
-- Called by create_recurring_bookings.
CREATE OR REPLACE FUNCTION recurring_slots(p_slot slots, p_every_days integer, p_count integer)
RETURNS TABLE (occurrence integer, local_start timestamp, slot_id uuid)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_timezone text := (SELECT r.timezone FROM resources r WHERE r.id = p_slot.resource_id);
  v_length interval := p_slot.ends_at - p_slot.starts_at;
BEGIN
  RETURN QUERY
    SELECT n + 1, w.local_start, s.id
    FROM generate_series(0, p_count - 1) n
    CROSS JOIN LATERAL (
      SELECT p_slot.starts_at AT TIME ZONE v_timezone + make_interval(days => n * p_every_days) AS local_start
    ) w
    CROSS JOIN LATERAL (
      -- the first is the slot itself, whichever pass of a time that comes twice it stands in
      SELECT CASE WHEN n = 0 THEN p_slot.starts_at ELSE slot_instant(w.local_start, v_length, v_timezone) END AS at
    ) i
    LEFT JOIN slots s ON s.resource_id = p_slot.resource_id AND s.starts_at = i.at
      -- lengths, not ends: the end of a day that is added is the session's
      AND s.ends_at - s.starts_at = v_length
    ORDER BY n;
END
$$""",
    ),
    Change(
        "functions/refresh_due_schedules",
        None,
        r"""-- Promises: schedules whose day is over reach to their horizon again. Answers how many it did, at most p_limit.
-- Called by the job processor, one a call: slots of one resource are locked by id, those of several would not be.
-- Locks: resources and schedules, SKIP LOCKED, then what refresh_future_schedule locks.
CREATE OR REPLACE FUNCTION refresh_due_schedules(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_resource_id uuid;
  v_refreshed integer := 0;
BEGIN
  FOR v_resource_id IN
    SELECT c.resource_id
    FROM jobs j
    JOIN schedules c ON c.resource_id::text = j.dedupe_key
    JOIN resources r ON r.id = c.resource_id
    WHERE j.job_type = 'refresh_schedule' AND j.status = 'pending' AND j.run_at <= p_now
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF r, c SKIP LOCKED
  LOOP
    PERFORM refresh_future_schedule(p_actor, v_resource_id, p_now);
    v_refreshed := v_refreshed + 1;
  END LOOP;
  RETURN v_refreshed;
END
$$""",
    ),
    Change(
        "functions/refresh_future_schedule",
        None,
        r"""-- Promises: the coming slots of a resource are what its rules give, and no booking is lost: slots with bookings that no
-- longer fit become legacy, limits shrink only to what is booked, empty slots that no longer fit go.
-- Called by put_schedule, put_exception, update_resource and the daily job. Locks: resource, schedule, slots by id, then
-- jobs.
-- Raises: SB016 schedule_not_found.
CREATE OR REPLACE FUNCTION refresh_future_schedule(
  p_actor jsonb, p_resource_id uuid, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_schedule schedules;
  v_exceptions schedule_exceptions[];
  v_plan slot_change[];
  v_to_lock uuid[] := ARRAY[]::uuid[];
  v_unlocked uuid[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  SELECT * INTO v_schedule FROM schedules c WHERE c.resource_id = p_resource_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'schedule_not_found' USING ERRCODE = 'SB016',
      DETAIL = json_build_object('resource_id', p_resource_id);
  END IF;
  v_exceptions := ARRAY(SELECT e FROM schedule_exceptions e WHERE e.resource_id = p_resource_id);

  LOOP
    BEGIN
      PERFORM FROM slots s WHERE s.id = ANY (v_to_lock) ORDER BY s.id FOR UPDATE;
      -- somebody may have booked or cancelled before we had them locked
      v_plan := ARRAY(SELECT p FROM schedule_plan(v_schedule, v_exceptions, p_now) p);
      v_unlocked := ARRAY(
        SELECT p.slot_id FROM unnest(v_plan) p WHERE p.action IN ('updated', 'legacy', 'removed')
        EXCEPT SELECT unnest(v_to_lock)
      );
      EXIT WHEN v_unlocked = '{}';
      -- more locks now would be out of order: give these back, and begin again
      RAISE SQLSTATE 'HF001';
    EXCEPTION
      WHEN SQLSTATE 'HF001' THEN
        v_to_lock := v_to_lock || v_unlocked;
    END;
  END LOOP;

  PERFORM apply_schedule_plan(p_resource_id, v_plan, p_now);
  PERFORM arm_schedule_refresh(p_resource_id, p_now);
  RETURN schedule_plan_json(v_plan, false);
END
$$""",
    ),
    Change(
        "functions/require_before_cutoff",
        None,
        r"""-- Promises: returns only if the booking may still be given back or moved: before its start, by as much as the resource's
-- cut-off asks. A hold may always be given back. Called by cancel_booking and reschedule_booking.
-- Raises: SB015 too_late, but not for an admin who gives a reason.
CREATE OR REPLACE FUNCTION require_before_cutoff(p_actor jsonb, p_booking bookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_until timestamptz := p_booking.starts_at - make_interval(
    mins => COALESCE(
      (SELECT c.cancel_cutoff_minutes FROM schedules c WHERE c.resource_id = p_booking.resource_id), 0
    )
  );
BEGIN
  IF p_booking.status <> 'pending' AND p_now > v_until AND NOT may_override(p_actor) THEN
    RAISE EXCEPTION 'too_late' USING ERRCODE = 'SB015',
      DETAIL = json_build_object(
        'rule', 'cancel_cutoff_minutes', 'booking_id', p_booking.id, 'starts_at', p_booking.starts_at, 'until', v_until
      );
  END IF;
END
$$""",
    ),
    Change(
        "functions/require_customer_limit",
        None,
        r"""-- Promises: returns only if the customer has fewer live bookings of the resource than its rules allow, p_held of them
-- apart. Bookings of one customer count one after the other. Locks: customer, after the slots.
-- Called by book_slot and join_waitlist, and by accept_offer for what is held already.
-- Raises: SB018 limit_reached, but not for an admin who gives a reason.
CREATE OR REPLACE FUNCTION require_customer_limit(
  p_actor jsonb, p_resource_id uuid, p_customer_id uuid, p_now timestamptz DEFAULT now(), p_held integer DEFAULT 0
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_limit integer := (SELECT c.max_bookings_per_customer FROM schedules c WHERE c.resource_id = p_resource_id);
  v_live bigint;
BEGIN
  IF v_limit IS NULL OR may_override(p_actor) THEN
    RETURN;
  END IF;

  PERFORM FROM customers c WHERE c.id = p_customer_id FOR NO KEY UPDATE;
  v_live := live_bookings(p_resource_id, p_customer_id, p_now) - p_held;
  IF v_live >= v_limit THEN
    RAISE EXCEPTION 'limit_reached' USING ERRCODE = 'SB018',
      DETAIL = json_build_object(
        'rule', 'max_bookings_per_customer', 'resource_id', p_resource_id, 'limit', v_limit, 'live_bookings', v_live
      );
  END IF;
END
$$""",
    ),
    Change(
        "functions/require_hours",
        None,
        r"""-- Promises: returns only if these are opening hours: from HH:MM to a later HH:MM of the same day, 24:00 at most, no two
-- of one day overlapping; with a weekday from 1 (Monday) to 7 where they are weekly, without one where they are a date's.
-- Called by schedules_guard_hours, and by put_schedule and put_exception in a dry run. Raises: SB017 invalid_hours.
CREATE OR REPLACE FUNCTION require_hours(p_hours jsonb, p_is_weekly boolean)
RETURNS void
LANGUAGE plpgsql
IMMUTABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  c_clock CONSTANT text := '^(([01]\d|2[0-3]):[0-5]\d|24:00)$';
  v_wrong jsonb;
BEGIN
  SELECT h.entry INTO v_wrong
  FROM (
    SELECT
      entry,
      entry ->> 'opens' AS opens,
      entry ->> 'closes' AS closes,
      entry ->> 'weekday' AS weekday,
      -- text compares as time does: both are HH:MM
      max(entry ->> 'closes') OVER (
        PARTITION BY entry ->> 'weekday' ORDER BY entry ->> 'opens', entry ->> 'closes'
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
      ) AS closed_before
    FROM jsonb_array_elements(p_hours) entry
  ) h
  WHERE (
    h.opens ~ c_clock AND h.closes ~ c_clock AND h.opens < h.closes
    AND h.opens >= COALESCE(h.closed_before, h.opens)
    AND CASE WHEN p_is_weekly THEN h.weekday ~ '^[1-7]$' ELSE h.weekday IS NULL END
  ) IS NOT TRUE
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'invalid_hours' USING ERRCODE = 'SB017', DETAIL = json_build_object('hours', v_wrong);
  END IF;
END
$$""",
    ),
    Change(
        "functions/require_movable",
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
  IF p_booking.status = 'pending' AND p_booking.expires_at <= p_now THEN
    RAISE EXCEPTION 'hold_expired' USING ERRCODE = 'SB013',
      DETAIL = json_build_object('booking_id', p_booking.id, 'expired_at', p_booking.expires_at);
  END IF;
END
$$""",
    ),
    Change(
        "functions/require_open_slot",
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
        r"""-- Promises: returns only if newcomers may take this slot at that time: what availability lists with none of these
-- reasons. Called by every function that takes a place. Raises: SB003 slot_closed, SB004 slot_in_past, SB011 not_open_yet,
-- SB015 too_late (the notice has run out); the last two not for an admin who gives a reason.
CREATE OR REPLACE FUNCTION require_open_slot(p_actor jsonb, p_slot slots, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_notice integer;
  v_opens_at timestamptz;
  v_reason text;
BEGIN
  SELECT c.min_notice_minutes, slot_opens_at(p_slot.starts_at, r.timezone, c.booking_window_days, c.opens_at_local)
  INTO v_notice, v_opens_at
  FROM schedules c
  JOIN resources r ON r.id = c.resource_id
  WHERE c.resource_id = p_slot.resource_id;
  v_reason := slot_reason(p_slot.is_legacy, p_slot.starts_at, v_notice, v_opens_at, p_now);

  CASE v_reason
    WHEN 'closed' THEN
      RAISE EXCEPTION 'slot_closed' USING ERRCODE = 'SB003', DETAIL = json_build_object('slot_id', p_slot.id);
    WHEN 'past' THEN
      RAISE EXCEPTION 'slot_in_past' USING ERRCODE = 'SB004',
        DETAIL = json_build_object('slot_id', p_slot.id, 'starts_at', p_slot.starts_at);
    WHEN 'notice' THEN
      IF NOT may_override(p_actor) THEN
        RAISE EXCEPTION 'too_late' USING ERRCODE = 'SB015',
          DETAIL = json_build_object(
            'rule', 'min_notice_minutes', 'slot_id', p_slot.id, 'starts_at', p_slot.starts_at,
            'until', p_slot.starts_at - make_interval(mins => v_notice)
          );
      END IF;
    WHEN 'not_open' THEN
      IF NOT may_override(p_actor) THEN
        RAISE EXCEPTION 'not_open_yet' USING ERRCODE = 'SB011',
          DETAIL = json_build_object('slot_id', p_slot.id, 'opens_at', v_opens_at);
      END IF;
    ELSE
  END CASE;
END
$$""",
    ),
    Change(
        "functions/require_payment_step",
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
      AND p_booking.payment_method = 'pay_now'
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
        r"""-- Promises: returns only if the booking has its place still, or may take it again: a hold whose time was over before
-- the money came is good if nobody took its place meanwhile. Called by record_payment and confirm_booking.
-- Locks: bookings whose hold is over (the caller holds the slot). Raises: SB013 hold_expired.
CREATE OR REPLACE FUNCTION require_place(p_booking bookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- who had the place once is no newcomer: neither notice nor window binds
  c_insider CONSTANT jsonb := jsonb_build_object('type', 'admin', 'reason', 'had the place');
BEGIN
  IF NOT p_booking.holds_place THEN
    PERFORM require_open_slot(c_insider, s, p_now), require_room(s, p_booking.units, 1, p_now)
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
        r"""-- Promises: returns only if the locked slot has room for that many more bookings of that many units together.
-- Called by every function that takes a place. Locks: bookings whose hold is over (the caller holds the slot).
-- Raises: SB002 slot_full, SB008 insufficient_units. The slot's CHECK is the second barrier, for every other writer.
CREATE OR REPLACE FUNCTION require_room(
  p_slot slots, p_units integer, p_bookings integer DEFAULT 1, p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_bookings_left integer := p_slot.max_bookings - p_slot.booked_bookings;
  v_units_left integer := p_slot.max_units - p_slot.booked_units;  -- NULL: units are not limited
  v_is_full boolean := v_bookings_left < p_bookings OR COALESCE(v_units_left <= 0, false);
  v_slot slots;
BEGIN
  IF NOT v_is_full AND p_units <= COALESCE(v_units_left, p_units) THEN
    RETURN;
  END IF;

  IF expire_slot_holds(p_slot.id, p_now) > 0 THEN
    SELECT * INTO v_slot FROM slots s WHERE s.id = p_slot.id;
    PERFORM require_room(v_slot, p_units, p_bookings, p_now);
    RETURN;
  END IF;

  RAISE EXCEPTION '%', CASE WHEN v_is_full THEN 'slot_full' ELSE 'insufficient_units' END
    USING ERRCODE = CASE WHEN v_is_full THEN 'SB002' ELSE 'SB008' END,
    DETAIL = json_build_object(
      'slot_id', p_slot.id, 'starts_at', p_slot.starts_at,
      'remaining_bookings', v_bookings_left, 'remaining_units', v_units_left
    );
END
$$""",
    ),
    Change(
        "functions/reschedule_booking",
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
        r"""-- Promises: the booking has its place in the new slot and no other, under the same id, or nothing changed.
-- Called by POST /v1/bookings/{id}/reschedule. Locks: both slots by id, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict,
-- SB001 slot_not_found, SB013 hold_expired, SB015 too_late, what require_open_slot, require_room and
-- require_customer_limit raise.
CREATE OR REPLACE FUNCTION reschedule_booking(
  p_actor jsonb,
  p_booking_id uuid,
  p_version integer,
  p_slot_id uuid,
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
  v_actor jsonb := p_actor || jsonb_build_object('reason', p_reason);
  v_booking bookings;
  v_slot slots;
BEGIN
  PERFORM set_config('holdfast.actor', v_actor::text, true);
  v_booking := lock_booking(p_actor, p_booking_id, p_slot_id);
  v_slot := lock_slot(p_slot_id);

  body := replay_request(p_actor ->> 'id', 'reschedule_booking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    PERFORM require_version(v_booking, p_version);
    PERFORM require_movable(v_booking, p_now);
    PERFORM require_before_cutoff(v_actor, v_booking, p_now);
    PERFORM require_open_slot(v_actor, v_slot, p_now);
    IF v_slot.id <> v_booking.slot_id THEN
      PERFORM require_room(v_slot, v_booking.units, 1, p_now);
    END IF;
    IF v_slot.resource_id <> v_booking.resource_id THEN
      PERFORM require_customer_limit(v_actor, v_slot.resource_id, v_booking.customer_id, p_now);
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
        "functions/schedule_plan",
        None,
        r"""-- Promises: what these rules ask of each coming slot of a resource: created, kept, updated, legacy, removed; or blocked,
-- where bookings on slots that no longer fit still need the time. Changes nothing; slots by hand are left alone.
-- Called by refresh_future_schedule, put_schedule and put_exception, which lock what they then change.
CREATE OR REPLACE FUNCTION schedule_plan(
  p_schedule schedules, p_exceptions schedule_exceptions[], p_now timestamptz DEFAULT now()
)
RETURNS SETOF slot_change
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    WITH wanted AS MATERIALIZED (
      SELECT w.starts_at, w.ends_at FROM schedule_slots(p_schedule, p_exceptions, p_now) w
    ), existing AS MATERIALIZED (
      SELECT s.*
      FROM slots s
      -- what has begun still needs its time; nothing that a schedule makes lasts longer than a day
      WHERE s.resource_id = p_schedule.resource_id AND s.starts_at > p_now - interval '24 hours' AND s.ends_at > p_now
    ), outgoing AS (
      SELECT e.starts_at, e.ends_at, e.booked_bookings, e.booked_units, hour
      FROM existing e
      CROSS JOIN LATERAL generate_series(
        floor(extract(epoch FROM e.starts_at) / 3600)::integer - 24, ceil(extract(epoch FROM e.ends_at) / 3600)::integer
      ) hour
      WHERE e.source <> 'manual' AND e.booked_bookings > 0
        AND NOT EXISTS (SELECT FROM wanted w WHERE w.starts_at = e.starts_at AND w.ends_at = e.ends_at)
    ), room AS (
      SELECT
        w.starts_at,
        w.ends_at,
        p_schedule.max_bookings - COALESCE(sum(o.booked_bookings), 0)::integer AS bookings,
        p_schedule.max_units - COALESCE(sum(o.booked_units), 0)::integer AS units
      FROM wanted w
      -- the hour makes it a join by equality, the overlap makes it right
      LEFT JOIN outgoing o ON o.hour = floor(extract(epoch FROM w.starts_at) / 3600)::integer
        AND o.starts_at < w.ends_at AND o.ends_at > w.starts_at
      GROUP BY w.starts_at, w.ends_at
    ), target AS (
      SELECT
        e.id AS slot_id,
        e.source,
        e.is_legacy,
        COALESCE(e.starts_at, r.starts_at) AS starts_at,
        COALESCE(e.ends_at, r.ends_at) AS ends_at,
        r.starts_at IS NOT NULL AS is_wanted,
        e.max_bookings AS old_bookings,
        e.max_units AS old_units,
        GREATEST(r.bookings, e.booked_bookings) AS bookings,
        CASE WHEN p_schedule.max_units IS NOT NULL THEN GREATEST(r.units, e.booked_units) END AS units
      FROM room r
      FULL JOIN (SELECT * FROM existing x WHERE x.starts_at > p_now) e
        ON e.starts_at = r.starts_at AND e.ends_at = r.ends_at
      WHERE e.source IS DISTINCT FROM 'manual' OR r.starts_at IS NOT NULL
    ), fitting AS (
      SELECT t.*, t.is_wanted AND t.bookings > 0 AND COALESCE(t.units > 0, true) AS fits FROM target t
    )
    SELECT
      CASE
        WHEN f.source = 'manual' THEN 'kept'
        WHEN f.slot_id IS NULL THEN CASE WHEN f.fits THEN 'created' ELSE 'blocked' END
        WHEN f.fits AND (f.old_bookings, f.old_units, f.is_legacy, f.source)
          IS NOT DISTINCT FROM (f.bookings, f.units, false, 'schedule') THEN 'kept'
        WHEN f.fits THEN 'updated'
        WHEN NOT slot_is_in_use(f.slot_id) THEN 'removed'
        WHEN NOT f.is_legacy THEN 'legacy'
      END,
      f.slot_id, f.starts_at, f.ends_at, f.bookings, f.units
    FROM fitting f;
END
$$""",
    ),
    Change(
        "functions/schedule_plan_json",
        None,
        r"""-- Promises: a plan as the API answers it: how many slots of each kind, and the bookings whose slot becomes legacy.
-- Called by refresh_future_schedule, put_schedule and put_exception.
CREATE OR REPLACE FUNCTION schedule_plan_json(p_plan slot_change[], p_dry_run boolean)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT json_build_object(
      'dry_run', p_dry_run,
      'created', count(*) FILTER (WHERE p.action = 'created'),
      'kept', count(*) FILTER (WHERE p.action = 'kept'),
      'updated', count(*) FILTER (WHERE p.action = 'updated'),
      'legacy', count(*) FILTER (WHERE p.action = 'legacy'),
      'removed', count(*) FILTER (WHERE p.action = 'removed'),
      'blocked', count(*) FILTER (WHERE p.action = 'blocked'),
      'affected_bookings', COALESCE(
        (
          SELECT json_agg(
            json_build_object(
              'id', b.id, 'reference', b.reference, 'slot_id', b.slot_id, 'customer_ref', c.ref,
              'status', b.status, 'units', b.units, 'starts_at', b.starts_at, 'ends_at', b.ends_at
            )
            ORDER BY b.starts_at, b.id
          )
          FROM unnest(p_plan) l
          JOIN bookings b ON b.slot_id = l.slot_id
          JOIN customers c ON c.id = b.customer_id
          WHERE l.action = 'legacy' AND b.status IN ('pending', 'confirmed')
        ),
        '[]'
      )
    )
    FROM unnest(p_plan) p
  );
END
$$""",
    ),
    Change(
        "functions/schedule_slots",
        None,
        r"""-- Promises: every slot that the rules give, from now to the horizon: wall-clock hours of each date in the resource's
-- zone, cut into equal lengths. A date with an exception has that one's hours and no others.
-- Called by schedule_plan. Reads nothing but the resource's zone: the rules are those handed in.
CREATE OR REPLACE FUNCTION schedule_slots(
  p_schedule schedules, p_exceptions schedule_exceptions[], p_now timestamptz DEFAULT now()
)
RETURNS TABLE (starts_at timestamptz, ends_at timestamptz)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_timezone text := (SELECT r.timezone FROM resources r WHERE r.id = p_schedule.resource_id);
  v_today date := (p_now AT TIME ZONE v_timezone)::date;
  v_length interval := make_interval(mins => p_schedule.slot_minutes);
BEGIN
  RETURN QUERY
    WITH days AS (
      SELECT v_today + n AS date, extract(isodow FROM v_today + n) AS weekday
      FROM generate_series(0, p_schedule.horizon_days) n
    ), hours AS (
      SELECT d.date, (h ->> 'opens')::time AS opens, (h ->> 'closes')::time AS closes
      FROM days d
      LEFT JOIN unnest(p_exceptions) e ON e.date = d.date
      CROSS JOIN LATERAL jsonb_array_elements(COALESCE(e.hours, p_schedule.weekly)) h
      WHERE e.date IS NOT NULL OR (h ->> 'weekday')::integer = d.weekday
    ), starts AS (
      SELECT slot_instant(h.date + h.opens + v_length * k, v_length, v_timezone) AS at
      FROM hours h
      CROSS JOIN LATERAL generate_series(
        0, (extract(epoch FROM h.closes - h.opens) / 60)::integer / p_schedule.slot_minutes - 1
      ) k
    )
    SELECT s.at, s.at + v_length FROM starts s WHERE s.at > p_now;
END
$$""",
    ),
    Change(
        "functions/schedules_guard_hours",
        None,
        r"""-- Promises: only opening hours are stored as such, whoever writes: hours that overlap would make slots that do.
-- Called by triggers schedules_guard_hours and schedule_exceptions_guard_hours with the column to look at. Raises: what require_hours raises.
CREATE OR REPLACE FUNCTION schedules_guard_hours()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM require_hours(to_jsonb(NEW) -> TG_ARGV[0], TG_ARGV[0] = 'weekly');
  RETURN NEW;
END
$$""",
    ),
    Change(
        "functions/set_answer_timezone",
        None,
        r"""-- Promises: JSON made later in this transaction shows its times in that zone; without one in the zone that all of these
-- resources share, else in UTC. Answers the zone. Called by available_slots, given_slots and add_slots.
-- Raises: SB009 resource_not_found, 22023 for an unknown time zone.
CREATE OR REPLACE FUNCTION set_answer_timezone(p_resource_ids uuid[], p_tz text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_timezones text[] := ARRAY(SELECT r.timezone FROM resources r WHERE r.id = ANY (p_resource_ids));
  v_timezone text;
BEGIN
  IF cardinality(v_timezones) < cardinality(p_resource_ids) THEN
    RAISE EXCEPTION 'resource_not_found' USING ERRCODE = 'SB009',
      DETAIL = (
        SELECT json_build_object('resource_id', min(g::text))
        FROM unnest(p_resource_ids) g
        WHERE NOT EXISTS (SELECT FROM resources r WHERE r.id = g)
      );
  END IF;
  v_timezone := COALESCE(p_tz, CASE WHEN v_timezones[1] = ALL (v_timezones) THEN v_timezones[1] END, 'UTC');
  -- JSON renders timestamptz in the transaction's zone: the offset comes out right for each date
  PERFORM set_config('TimeZone', v_timezone, true);
  RETURN v_timezone;
END
$$""",
    ),
    Change(
        "functions/slot_instant",
        None,
        r"""-- Promises: the instant at which a slot of that length starts, for its wall-clock time in a zone. NULL where the clocks
-- skip any of it; of times that come twice the first, unless the slot would then reach back before its own start.
-- Called by schedule_slots and recurring_slots. Every slot lasts p_length, and shows only wall-clock times of its own.
CREATE OR REPLACE FUNCTION slot_instant(p_wall timestamp, p_length interval, p_timezone text)
RETURNS timestamptz
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  -- 24 hours, not a day: a day is as long as the session's own zone says
  c_day CONSTANT interval := interval '24 hours';
  c_tick CONSTANT interval := interval '1 microsecond';
  -- of a time that comes twice Postgres takes the second
  v_later timestamptz := p_wall AT TIME ZONE p_timezone;
  v_before timestamptz := v_later - c_day;
  v_earlier timestamptz;
BEGIN
  -- nearly always: no clock changes within a day
  IF v_before AT TIME ZONE p_timezone = p_wall - c_day AND (v_later + c_day) AT TIME ZONE p_timezone = p_wall + c_day THEN
    RETURN v_later;
  END IF;

  IF v_later AT TIME ZONE p_timezone <> p_wall THEN
    RETURN NULL;
  END IF;
  v_earlier := (p_wall - (v_before AT TIME ZONE p_timezone - v_before AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC';
  IF v_earlier < v_later
    AND v_earlier AT TIME ZONE p_timezone = p_wall
    AND (v_earlier + p_length - c_tick) AT TIME ZONE p_timezone = p_wall + p_length - c_tick
  THEN
    RETURN v_earlier;
  END IF;
  RETURN CASE WHEN (v_later + p_length - c_tick) AT TIME ZONE p_timezone < p_wall + p_length THEN v_later END;
END
$$""",
    ),
    Change(
        "functions/slot_is_in_use",
        None,
        r"""-- Promises: whether anything refers to the slot: a booking, even one that is over, or somebody in its line.
-- Called by schedule_plan: only a slot without history may go.
CREATE OR REPLACE FUNCTION slot_is_in_use(p_slot_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN EXISTS (SELECT FROM bookings b WHERE b.slot_id = p_slot_id)
    OR EXISTS (SELECT FROM waitlist_entries w WHERE w.slot_id = p_slot_id);
END
$$""",
    ),
    Change(
        "functions/slot_json",
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
        None,
    ),
    Change(
        "functions/slot_offers",
        None,
        r"""-- Promises: slots as availability answers them: what is left, whether that many units may be booked now, and if not why.
-- A hold whose time is over counts as free, swept or not, unless somebody in the slot's line has the first claim.
-- Called by available_slots (by resource and range, legacy ones hidden), given_slots and add_slots (by id).
CREATE OR REPLACE FUNCTION slot_offers(
  p_resource_ids uuid[],
  p_from timestamptz,
  p_to timestamptz,
  p_slot_ids uuid[],
  p_units integer DEFAULT 1,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (
  id uuid,
  resource_id uuid,
  starts_at timestamptz,
  ends_at timestamptz,
  max_bookings integer,
  max_units integer,
  remaining_bookings integer,
  remaining_units integer,
  available boolean,
  reason text,
  opens_at timestamptz
)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    -- materialized, so that no expression is worked out more than once a slot
    WITH asked AS MATERIALIZED (
      SELECT s.*
      FROM slots s
      WHERE (
        s.resource_id = ANY (p_resource_ids) AND s.starts_at >= p_from AND s.starts_at < p_to AND NOT s.is_legacy
      ) OR s.id = ANY (p_slot_ids)
    ), lapsed AS (
      SELECT b.slot_id, count(*)::integer AS bookings, sum(b.units)::integer AS units
      FROM bookings b
      WHERE b.resource_id IN (SELECT DISTINCT a.resource_id FROM asked a) AND b.expires_at <= p_now
        AND NOT EXISTS (SELECT FROM waitlist_entries e WHERE e.slot_id = b.slot_id AND e.status = 'waiting')
      GROUP BY b.slot_id
    ), counted AS MATERIALIZED (
      SELECT
        a.id, a.resource_id, a.starts_at, a.ends_at, a.max_bookings, a.max_units, a.is_legacy, c.min_notice_minutes,
        a.max_bookings - a.booked_bookings + COALESCE(l.bookings, 0) AS bookings_left,
        a.max_units - a.booked_units + COALESCE(l.units, 0) AS units_left,
        slot_opens_at(a.starts_at, r.timezone, c.booking_window_days, c.opens_at_local) AS opens_at
      FROM asked a
      JOIN resources r ON r.id = a.resource_id
      LEFT JOIN schedules c ON c.resource_id = a.resource_id
      LEFT JOIN lapsed l ON l.slot_id = a.id
    ), judged AS MATERIALIZED (
      SELECT
        n.*,
        COALESCE(
          slot_reason(n.is_legacy, n.starts_at, n.min_notice_minutes, n.opens_at, p_now),
          CASE WHEN n.bookings_left <= 0 OR n.units_left < p_units THEN 'full' END
        ) AS reason
      FROM counted n
    )
    SELECT
      j.id, j.resource_id, j.starts_at, j.ends_at, j.max_bookings, j.max_units, j.bookings_left, j.units_left,
      j.reason IS NULL, j.reason, j.opens_at
    FROM judged j
    ORDER BY j.starts_at, j.ends_at, j.id;
END
$$""",
    ),
    Change(
        "functions/slot_opens_at",
        None,
        r"""-- Promises: when booking opens for a slot: so many days before its date, at that time of day in the resource's zone.
-- NULL where there is no window. Called by slot_offers and require_open_slot. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION slot_opens_at(
  p_starts_at timestamptz, p_timezone text, p_window_days integer, p_opens_at_local time
)
RETURNS timestamptz
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN ((p_starts_at AT TIME ZONE p_timezone)::date - p_window_days + p_opens_at_local) AT TIME ZONE p_timezone""",
    ),
    Change(
        "functions/slot_reason",
        None,
        r"""-- Promises: why a slot cannot be booked, the lasting reason first; NULL where it can. Called by slot_offers and
-- require_open_slot, so that what is listed as free is what is taken. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION slot_reason(
  p_is_legacy boolean, p_starts_at timestamptz, p_min_notice_minutes integer, p_opens_at timestamptz, p_now timestamptz
)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN p_is_legacy THEN 'closed'
  WHEN p_starts_at <= p_now THEN 'past'
  WHEN extract(epoch FROM p_starts_at - p_now) < p_min_notice_minutes * 60 THEN 'notice'
  WHEN p_opens_at > p_now THEN 'not_open'
END""",
    ),
    Change(
        "functions/slots_offer_places",
        None,
        r"""-- Promises: places that a slot gains go to those in its line first, but for those an import brings its own booking for.
-- Called by trigger slots_offer_places, whoever writes.
-- Locks: slot, entries, then the new bookings.
CREATE OR REPLACE FUNCTION slots_offer_places()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF current_setting('holdfast.growth_is_taken', true) = 'on' THEN
    RETURN NULL;
  END IF;
  -- not every writer says when
  PERFORM offer_places(NEW.id, GREATEST(NEW.updated_at, now()));
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/update_resource",
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
        r"""-- Promises: what is given replaces what was stored, if nobody changed the resource since the caller read it.
-- Another time zone moves what its schedule makes. Called by PATCH /v1/resources/{id}.
-- Locks: resource, then what refresh_future_schedule locks. Raises: SB009 resource_not_found, SB006 version_conflict,
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
  IF p_timezone IS NOT NULL AND EXISTS (SELECT FROM schedules c WHERE c.resource_id = p_resource_id) THEN
    -- nine o'clock is another instant now
    PERFORM refresh_future_schedule(p_actor, p_resource_id, p_now);
  END IF;
  RETURN QUERY SELECT v_resource.id, v_resource.version, resource_json(v_resource);
END
$$""",
    ),
    Change(
        "functions/waitlist_entry_json",
        None,
        r"""-- Promises: the one JSON shape of a place in line: how many wait before it, and the offered booking with its expiry.
-- Called by every function that answers one.
CREATE OR REPLACE FUNCTION waitlist_entry_json(p_entry waitlist_entries)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT json_build_object(
      'id', p_entry.id,
      'slot_id', p_entry.slot_id,
      'customer_ref', c.ref,
      'units', p_entry.units,
      'payment_method', p_entry.payment_method,
      'status', p_entry.status,
      'ahead', CASE
        WHEN p_entry.status = 'waiting' THEN (
          SELECT count(*)
          FROM waitlist_entries w
          WHERE w.slot_id = p_entry.slot_id AND w.status = 'waiting' AND w.place_in_line < p_entry.place_in_line
        )
      END,
      'booking_id', p_entry.booking_id,
      'expires_at', b.expires_at,
      'created_at', p_entry.created_at,
      'updated_at', p_entry.updated_at
    )
    FROM customers c
    LEFT JOIN bookings b ON b.id = p_entry.booking_id
    WHERE c.id = p_entry.customer_id
  );
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
    COALESCE(v_new ->> 'id', v_old ->> 'id', v_new ->> 'resource_id', v_old ->> 'resource_id'),
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
        "triggers/bookings_offer_places",
        None,
        r"""-- Only what can free a place or settle an offer: completing a booking does neither.
CREATE OR REPLACE TRIGGER bookings_offer_places
AFTER UPDATE ON bookings
FOR EACH ROW
WHEN (
  OLD.holds_place AND (NOT NEW.holds_place OR NEW.slot_id <> OLD.slot_id OR NEW.units < OLD.units)
  OR NEW.status = 'confirmed' AND OLD.status <> 'confirmed'
)
EXECUTE FUNCTION bookings_offer_places()""",
    ),
    Change(
        "triggers/schedule_exceptions_guard_hours",
        None,
        r"""CREATE OR REPLACE TRIGGER schedule_exceptions_guard_hours
BEFORE INSERT OR UPDATE OF hours ON schedule_exceptions
FOR EACH ROW
EXECUTE FUNCTION schedules_guard_hours('hours')""",
    ),
    Change(
        "triggers/schedule_exceptions_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER schedule_exceptions_write_audit
AFTER INSERT OR UPDATE OR DELETE ON schedule_exceptions
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('schedule_exception')""",
    ),
    Change(
        "triggers/schedules_guard_hours",
        None,
        r"""CREATE OR REPLACE TRIGGER schedules_guard_hours
BEFORE INSERT OR UPDATE OF weekly ON schedules
FOR EACH ROW
EXECUTE FUNCTION schedules_guard_hours('weekly')""",
    ),
    Change(
        "triggers/schedules_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER schedules_write_audit
AFTER INSERT OR UPDATE OR DELETE ON schedules
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('schedule')""",
    ),
    Change(
        "triggers/slots_offer_places",
        None,
        r"""-- Limits that grow, and a slot that is open again. Bookings themselves are another trigger's.
CREATE OR REPLACE TRIGGER slots_offer_places
AFTER UPDATE OF max_bookings, max_units, is_legacy ON slots
FOR EACH ROW
WHEN (
  (OLD.max_bookings, OLD.max_units, OLD.is_legacy) IS DISTINCT FROM (NEW.max_bookings, NEW.max_units, NEW.is_legacy)
)
EXECUTE FUNCTION slots_offer_places()""",
    ),
    Change(
        "triggers/slots_write_audit",
        r"""-- Not the counters: they follow from bookings, whose every change is audited already.
CREATE OR REPLACE TRIGGER slots_write_audit
AFTER INSERT OR DELETE OR UPDATE OF resource_id, starts_at, ends_at, max_bookings, max_units, is_legacy ON slots
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('slot')""",
        None,
    ),
    Change(
        "triggers/slots_write_audit_on_delete",
        None,
        r"""-- A slot that its schedule takes back was never booked, and goes as it came.
CREATE OR REPLACE TRIGGER slots_write_audit_on_delete
AFTER DELETE ON slots
FOR EACH ROW
WHEN (OLD.source <> 'schedule')
EXECUTE FUNCTION write_audit_log('slot')""",
    ),
    Change(
        "triggers/slots_write_audit_on_insert",
        None,
        r"""-- What a schedule makes follows from its rules, whose every change is audited: a year of slots is not a year of rows.
CREATE OR REPLACE TRIGGER slots_write_audit_on_insert
AFTER INSERT ON slots
FOR EACH ROW
WHEN (NEW.source <> 'schedule')
EXECUTE FUNCTION write_audit_log('slot')""",
    ),
    Change(
        "triggers/slots_write_audit_on_update",
        None,
        r"""-- Not the counters: they follow from bookings, whose every change is audited already.
CREATE OR REPLACE TRIGGER slots_write_audit_on_update
AFTER UPDATE OF resource_id, starts_at, ends_at, max_bookings, max_units, is_legacy ON slots
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('slot')""",
    ),
    Change(
        "triggers/waitlist_entries_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER waitlist_entries_write_audit
AFTER INSERT OR UPDATE OR DELETE ON waitlist_entries
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('waitlist_entry')""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
