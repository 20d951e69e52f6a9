"""what is wanted is booked when booking opens.

Revision ID: 0018
Revises: 0017
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/begin_attempt",
        None,
        r"""-- Promises: that this target is about to be asked for is on record before anything is sent, by who holds the job and
-- nobody else. Answers the attempt's id. Called by the handler of execute_prebooking. Locks: job (shared).
-- Raises: SB020 lease_lost.
CREATE OR REPLACE FUNCTION begin_attempt(
  p_prebooking_id uuid, p_choice integer, p_job_id uuid, p_lease_token bigint, p_now timestamptz DEFAULT now()
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_attempt_id uuid;
BEGIN
  PERFORM FROM jobs j
  WHERE j.id = p_job_id AND j.lease_token = p_lease_token AND j.status = 'processing'
  FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'lease_lost' USING ERRCODE = 'SB020',
      DETAIL = json_build_object('job_id', p_job_id, 'lease_token', p_lease_token);
  END IF;
  INSERT INTO prebooking_attempts (prebooking_id, choice, started_at)
  VALUES (p_prebooking_id, p_choice, p_now)
  RETURNING id INTO v_attempt_id;
  RETURN v_attempt_id;
END
$$""",
    ),
    Change(
        "functions/begin_prebooking",
        None,
        r"""-- Promises: the prebooking is being executed, and here is what that takes: what is wanted, where, for whom, with which
-- credentials, when, and how far it came before. No row where there is nothing to do any more.
-- Called by the handler of execute_prebooking. Locks: prebooking.
-- Of one opening at a provider each fires its stagger after the one before, in the order of creation.
CREATE OR REPLACE FUNCTION begin_prebooking(
  p_actor jsonb, p_prebooking_id uuid, p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS TABLE (
  provider text, adapter text, settings jsonb, is_enabled boolean, targets jsonb, customer jsonb, opens_at timestamptz,
  fire_at timestamptz, choice integer, is_booked boolean, confirmation text, unclear_attempt_id uuid, key_id text,
  nonce bytea, ciphertext bytea
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_prebooking prebookings;
  v_last prebooking_attempts;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE prebookings p SET status = 'executing', updated_at = p_now WHERE p.id = p_prebooking_id AND p.status = 'pending';
  SELECT * INTO v_prebooking FROM prebookings p WHERE p.id = p_prebooking_id AND p.status = 'executing';
  SELECT * INTO v_last FROM prebooking_attempts a WHERE a.prebooking_id = p_prebooking_id ORDER BY a.id DESC LIMIT 1;
  RETURN QUERY
    SELECT
      r.name, r.adapter, r.settings, r.is_enabled, v_prebooking.targets,
      jsonb_build_object('ref', c.ref, 'name', c.name, 'email', c.email, 'phone', c.phone),
      v_prebooking.opens_at,
      v_prebooking.opens_at + prebookings_ahead(v_prebooking) * make_interval(secs => COALESCE(q.stagger_ms, 0) / 1000.0),
      COALESCE(v_last.choice + (v_last.finding IN ('full', 'refused'))::integer, v_last.choice, 1),
      COALESCE(v_last.finding = 'booked', false),
      v_last.confirmation,
      -- what was not there right after it was asked for may have come since
      CASE WHEN COALESCE(v_last.finding IN ('unknown', 'absent'), true) THEN v_last.id END,
      k.key_id, k.nonce, k.ciphertext
    FROM providers r
    JOIN customers c ON c.id = v_prebooking.customer_id
    LEFT JOIN job_queues q ON q.name = provider_queue(r.name)
    LEFT JOIN provider_credentials k ON k.provider = r.name AND k.customer_id = c.id
    WHERE r.name = v_prebooking.provider;
END
$$""",
    ),
    Change(
        "functions/book_first_choice",
        None,
        r"""-- Promises: the prebooking has the first of its choices that is to be had, or has failed, in the line where it asked for
-- that; each choice that was tried is on record. Answers its status. Called by run_openings, which has locked it and its
-- slots. Locks: customer, then the new booking and its job.
CREATE OR REPLACE FUNCTION book_first_choice(p_actor jsonb, p_prebooking_id uuid, p_now timestamptz DEFAULT now())
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_prebooking prebookings := (SELECT p FROM prebookings p WHERE p.id = p_prebooking_id);
  v_slot slots;
  v_booking bookings;
  v_reason text;
BEGIN
  FOR v_choice IN 1 .. cardinality(v_prebooking.starts_at) LOOP
    SELECT * INTO v_slot
    FROM slots s
    WHERE s.resource_id = v_prebooking.resource_id AND s.starts_at = v_prebooking.starts_at[v_choice]
    ORDER BY s.is_legacy, s.ends_at
    LIMIT 1;
    v_booking := NULL;
    v_reason := CASE WHEN v_slot.id IS NULL THEN 'slot_not_found' END;
    IF v_slot.id IS NOT NULL THEN
      BEGIN
        v_booking := take_place(p_actor, v_slot, v_prebooking, p_now);
      EXCEPTION
        WHEN SQLSTATE 'SB002' OR SQLSTATE 'SB003' OR SQLSTATE 'SB004' OR SQLSTATE 'SB008' OR SQLSTATE 'SB011'
          OR SQLSTATE 'SB015' OR SQLSTATE 'SB018'
        THEN
          v_reason := SQLERRM;
      END;
    END IF;
    INSERT INTO prebooking_attempts (prebooking_id, choice, finding, started_at, fired_at, ended_at)
    VALUES (p_prebooking_id, v_choice, COALESCE(v_reason, 'booked'), p_now, p_now, p_now);
    EXIT WHEN v_reason IS NULL;
    v_prebooking.reason := COALESCE(v_prebooking.reason, v_reason);
  END LOOP;

  UPDATE prebookings p
  SET status = CASE WHEN v_booking.id IS NULL THEN 'failed' ELSE 'succeeded' END,
      booking_id = v_booking.id,
      booked_choice = CASE WHEN v_booking.id IS NOT NULL THEN array_position(v_prebooking.starts_at, v_booking.starts_at) END,
      reason = CASE WHEN v_booking.id IS NULL THEN v_prebooking.reason END,
      waitlist_entry_id = CASE WHEN v_booking.id IS NULL THEN wait_in_line(v_prebooking, p_now) END,
      fired_at = p_now,
      lateness_ms = LEAST(extract(epoch FROM p_now - p.opens_at) * 1000, 2147483647),
      updated_at = p_now
  WHERE p.id = p_prebooking_id
  RETURNING p.status INTO v_prebooking.status;
  RETURN v_prebooking.status;
END
$$""",
    ),
    Change(
        "functions/book_slot",
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
        r"""-- Promises: a booking in a slot that its caller has locked, if newcomers may take it, it has room, and the customer has
-- not reached the limit. Called by create_booking_safe, create_bookings_safe and create_recurring_bookings.
-- Locks: customer, then the new booking and its job. Raises: what require_open_slot, require_turn, require_room and
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
  PERFORM require_turn(p_actor, p_slot, p_units, p_now);
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
        "functions/cancel_prebooking",
        None,
        r"""-- Promises: the prebooking will not fire; cancelling twice is once. Called by POST /v1/prebookings/{id}/cancel.
-- Locks: prebooking, then its jobs.
-- Raises: SB024 prebooking_not_found, SB007 invalid_transition (it has fired, or is about to).
CREATE OR REPLACE FUNCTION cancel_prebooking(
  p_actor jsonb, p_prebooking_id uuid, p_reason text DEFAULT NULL, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_prebooking prebookings;
BEGIN
  PERFORM set_config('holdfast.actor', (p_actor || jsonb_build_object('reason', p_reason))::text, true);
  PERFORM get_prebooking(p_prebooking_id, p_actor ->> 'customer_ref');
  SELECT * INTO v_prebooking FROM prebookings p WHERE p.id = p_prebooking_id FOR NO KEY UPDATE;
  CASE v_prebooking.status
    WHEN 'pending' THEN
      UPDATE prebookings p SET status = 'cancelled', updated_at = p_now WHERE p.id = p_prebooking_id;
    WHEN 'cancelled' THEN
      NULL;
    ELSE
      RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
        DETAIL = json_build_object('prebooking_id', p_prebooking_id, 'from', v_prebooking.status, 'to', 'cancelled');
  END CASE;
  RETURN get_prebooking(p_prebooking_id);
END
$$""",
    ),
    Change(
        "functions/check_credentials_before",
        None,
        r"""-- Promises: a day before a prebooking opens it is looked whether its customer's credentials still let them in.
-- Called by prebookings_sync_jobs. Nothing where it opens sooner: they were looked at when they were stored.
CREATE OR REPLACE FUNCTION check_credentials_before(p_prebooking prebookings)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_before CONSTANT interval := interval '24 hours';
BEGIN
  PERFORM enqueue_job(
    'check_credentials',
    jsonb_build_object('credentials_id', c.id),
    p_prebooking.opens_at - c_before,
    c.id || ' ' || p_prebooking.id,
    provider_queue(c.provider),
    p_now => p_prebooking.updated_at
  )
  FROM provider_credentials c
  WHERE c.provider = p_prebooking.provider AND c.customer_id = p_prebooking.customer_id
    AND p_prebooking.opens_at > p_prebooking.updated_at + c_before;
END
$$""",
    ),
    Change(
        "functions/create_prebooking",
        None,
        r"""-- Promises: what the customer wants is booked when booking opens for it, or at once where it is open; once per key.
-- Called by POST /v1/prebookings, for a resource of ours or at a provider. Locks: resource and schedule, or provider
-- (shared), customer, then the new prebooking and its jobs. Raises: SB009 resource_not_found, SB010 idempotency_conflict,
-- SB022 provider_not_found, SB025 invalid_target, SB026 already_prebooked.
CREATE OR REPLACE FUNCTION create_prebooking(
  p_actor jsonb,
  p_resource_id uuid,
  p_provider text,
  p_targets jsonb,
  p_customer jsonb,
  p_units integer DEFAULT 1,
  p_payment_method text DEFAULT 'pay_on_arrival',
  p_join_waitlist boolean DEFAULT false,
  p_opens_at timestamptz DEFAULT NULL,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (prebooking_id uuid, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer_id uuid;
  v_starts timestamptz[];
  v_prebooking prebookings;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF p_provider IS NULL THEN
    PERFORM get_resource(p_resource_id);
    -- a change of the rules moves the openings of what it finds, and waits for what is under way
    PERFORM FROM resources r WHERE r.id = p_resource_id FOR SHARE;
    PERFORM FROM schedules c WHERE c.resource_id = p_resource_id FOR SHARE;
  ELSE
    PERFORM get_provider(p_provider);
    PERFORM FROM providers p WHERE p.name = p_provider FOR SHARE;
  END IF;
  v_customer_id := upsert_customer(own_customer(p_actor, p_customer), p_now);
  PERFORM FROM customers c WHERE c.id = v_customer_id FOR NO KEY UPDATE;

  body := replay_request(p_actor ->> 'id', 'create_prebooking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    v_starts := CASE WHEN p_provider IS NULL THEN target_starts(p_resource_id, p_targets, p_now) END;
    INSERT INTO prebookings (
      customer_id, resource_id, provider, targets, starts_at, units, payment_method, join_waitlist, opens_at,
      is_opening_given, created_at, updated_at
    )
    VALUES (
      v_customer_id, p_resource_id, p_provider, p_targets, v_starts, p_units, p_payment_method, p_join_waitlist,
      GREATEST(COALESCE(p_opens_at, opening_of(p_resource_id, p_provider, p_targets, v_starts)), p_now),
      p_opens_at IS NOT NULL, p_now, p_now
    )
    ON CONFLICT DO NOTHING
    RETURNING * INTO v_prebooking;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'already_prebooked' USING ERRCODE = 'SB026',
        DETAIL = json_build_object('resource_id', p_resource_id, 'provider', p_provider, 'target', p_targets -> 0);
    END IF;
    body := prebooking_json(v_prebooking);
    PERFORM remember_request(p_actor ->> 'id', 'create_prebooking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  prebooking_id := (body ->> 'id')::uuid;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/draw_lots",
        None,
        r"""-- Promises: each opening that has come at a resource whose policy is the lottery has its seed, drawn once, on record, and
-- not before anybody could still join. Called by run_openings. Locks: the draw, until the transaction ends.
CREATE OR REPLACE FUNCTION draw_lots(p_resource_id uuid, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  INSERT INTO lottery_draws (resource_id, opens_at, seed, entries, drawn_at)
  SELECT p_resource_id, p.opens_at, gen_random_uuid()::text, count(*), p_now
  FROM prebookings p
  JOIN schedules c ON c.resource_id = p.resource_id
  WHERE p.resource_id = p_resource_id AND c.opening_policy = 'lottery'
    AND p.status = 'pending' AND p.opens_at <= p_now AND p.created_at < p.opens_at
  GROUP BY p.opens_at
  ON CONFLICT DO NOTHING;
END
$$""",
    ),
    Change(
        "functions/end_attempt",
        None,
        r"""-- Promises: what came of an attempt is on record; what was unclear, or not there yet, may become clear; what is clear
-- stays. Called by the handler of execute_prebooking.
CREATE OR REPLACE FUNCTION end_attempt(
  p_attempt_id uuid,
  p_finding text,
  p_detail text DEFAULT NULL,
  p_confirmation text DEFAULT NULL,
  p_fired_at timestamptz DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  UPDATE prebooking_attempts a
  SET finding = p_finding,
      detail = left(p_detail, 500),
      confirmation = left(p_confirmation, 500),
      fired_at = COALESCE(p_fired_at, a.fired_at),
      ended_at = p_now
  WHERE a.id = p_attempt_id AND COALESCE(a.finding IN ('unknown', 'absent'), true);
END
$$""",
    ),
    Change(
        "functions/enqueue_opening",
        None,
        r"""-- Promises: a job runs the openings of the prebooking's resource when it opens: one for all that open then.
-- Called by prebookings_sync_jobs and sweep_prebookings.
CREATE OR REPLACE FUNCTION enqueue_opening(p_prebooking prebookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM enqueue_job(
    'run_openings',
    jsonb_build_object('resource_id', p_prebooking.resource_id),
    p_prebooking.opens_at,
    prebooking_job_key(p_prebooking),
    'openings',
    0,
    p_now => p_now
  );
END
$$""",
    ),
    Change(
        "functions/event_json",
        r"""-- Promises: the one JSON shape of an event, with its subject as it was then. Called by read_events.
-- `sequence` grows with each event of a subject: its version, where the database itself sees to it that this one grows
-- with every change; else the event's own number.
CREATE OR REPLACE FUNCTION event_json(p_entry audit_log, p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_type text := event_type(p_entry.event);
BEGIN
  RETURN json_build_object(
    'id', 'evt_' || p_entry.id,
    'type', v_type,
    'created_at', p_entry.created_at,
    'sequence', CASE p_entry.subject_type
      WHEN 'booking' THEN (p_entry.new_values ->> 'version')::bigint
      ELSE p_entry.id
    END,
    'subject', json_build_object('type', split_part(v_type, '.', 1), 'id', p_entry.subject_id),
    'data', CASE p_entry.subject_type
      WHEN 'booking' THEN booking_json(jsonb_populate_record(NULL::bookings, p_entry.new_values), p_customer_ref)
      -- a date without hours of its own has the weekly ones again
      WHEN 'schedule_exception' THEN COALESCE(p_entry.new_values, p_entry.old_values || '{"hours": null}')::json
      ELSE COALESCE(p_entry.new_values, p_entry.old_values)::json
    END
  );
END
$$""",
        r"""-- Promises: the one JSON shape of an event, with its subject as it was then. Called by read_events.
-- `sequence` grows with each event of a subject: its version, where the database itself sees to it that this one grows
-- with every change; else the event's own number.
CREATE OR REPLACE FUNCTION event_json(p_entry audit_log, p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_type text := event_type(p_entry.event);
BEGIN
  RETURN json_build_object(
    'id', 'evt_' || p_entry.id,
    'type', v_type,
    'created_at', p_entry.created_at,
    'sequence', CASE
      WHEN p_entry.subject_type IN ('booking', 'prebooking') THEN (p_entry.new_values ->> 'version')::bigint
      ELSE p_entry.id
    END,
    'subject', json_build_object('type', split_part(v_type, '.', 1), 'id', p_entry.subject_id),
    'data', CASE p_entry.subject_type
      WHEN 'booking' THEN booking_json(jsonb_populate_record(NULL::bookings, p_entry.new_values), p_customer_ref)
      WHEN 'prebooking' THEN prebooking_json(
        jsonb_populate_record(NULL::prebookings, p_entry.new_values), (p_entry.new_values ->> 'updated_at')::timestamptz
      )
      -- a date without hours of its own has the weekly ones again
      WHEN 'schedule_exception' THEN COALESCE(p_entry.new_values, p_entry.old_values || '{"hours": null}')::json
      ELSE COALESCE(p_entry.new_values, p_entry.old_values)::json
    END
  );
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
  WHEN 'schedule' THEN 'schedule.changed'
  WHEN 'schedule_exception' THEN 'schedule.changed'
  ELSE CASE WHEN p_event = 'slot.full' THEN p_event END
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
  ELSE CASE WHEN p_event IN ('slot.full', 'credentials.invalid') THEN p_event END
END""",
    ),
    Change(
        "functions/finish_prebooking",
        None,
        r"""-- Promises: the prebooking has succeeded or failed and its job is done, together, or neither; a person looks at one that
-- failed and of which nobody knows what became.
-- Called by the handler of execute_prebooking. Locks: prebooking, job. Raises: SB020 lease_lost, SB007 invalid_transition.
CREATE OR REPLACE FUNCTION finish_prebooking(
  p_actor jsonb,
  p_prebooking_id uuid,
  p_job_id uuid,
  p_lease_token bigint,
  p_status text,
  p_booked_choice integer DEFAULT NULL,
  p_confirmation text DEFAULT NULL,
  p_reason text DEFAULT NULL,
  p_detail text DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_fired_at timestamptz := (SELECT min(a.fired_at) FROM prebooking_attempts a WHERE a.prebooking_id = p_prebooking_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE prebookings p
  SET status = p_status,
      booked_choice = p_booked_choice,
      confirmation = left(p_confirmation, 500),
      reason = p_reason,
      detail = left(p_detail, 500),
      needs_attention = p_status = 'failed' AND EXISTS (
        SELECT FROM prebooking_attempts a WHERE a.prebooking_id = p.id AND COALESCE(a.finding = 'unknown', true)
      ),
      fired_at = v_fired_at,
      lateness_ms = LEAST(extract(epoch FROM v_fired_at - p.opens_at) * 1000, 2147483647),
      updated_at = p_now
  WHERE p.id = p_prebooking_id;
  PERFORM complete_leased_job(p_job_id, p_lease_token, p_now => p_now);
END
$$""",
    ),
    Change(
        "functions/get_prebooking",
        None,
        r"""-- Promises: one prebooking as the API answers it; of that customer alone, where one is given.
-- Called by GET /v1/prebookings/{id} and cancel_prebooking. Raises: SB024 prebooking_not_found.
CREATE OR REPLACE FUNCTION get_prebooking(p_prebooking_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_prebooking prebookings;
BEGIN
  SELECT p.* INTO v_prebooking
  FROM prebookings p
  JOIN customers c ON c.id = p.customer_id
  WHERE p.id = p_prebooking_id AND (p_customer_ref IS NULL OR c.ref = p_customer_ref);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'prebooking_not_found' USING ERRCODE = 'SB024',
      DETAIL = json_build_object('prebooking_id', p_prebooking_id);
  END IF;
  RETURN prebooking_json(v_prebooking);
END
$$""",
    ),
    Change(
        "functions/join_waitlist",
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
        r"""-- Promises: the customer stands in the slot's line, once; where there is room already, the answer is an offer.
-- Called by POST /v1/waitlist. Locks: slot, customer (if it changes), entry, then the new booking.
-- Raises: SB001 slot_not_found, what require_open_slot, require_turn and require_customer_limit raise.
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
  PERFORM require_turn(p_actor, v_slot, p_units, p_now);
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
        "functions/list_prebookings",
        None,
        r"""-- Promises: one page of the prebookings that pass every filter, in order of creation, and the next page's cursor.
-- Called by GET /v1/prebookings. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_prebookings(
  p_resource_id uuid DEFAULT NULL,
  p_provider text DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_status text DEFAULT NULL,
  p_needs_attention boolean DEFAULT NULL,
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
  v_page prebookings[];
BEGIN
  v_page := ARRAY(
    SELECT p
    FROM prebookings p
    WHERE (p.created_at, p.id) > (v_after.at, v_after.id)
      AND (p_resource_id IS NULL OR p.resource_id = p_resource_id)
      AND (p_provider IS NULL OR p.provider = p_provider)
      AND (p_customer_ref IS NULL OR p.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref))
      AND (p_status IS NULL OR p.status = p_status)
      AND (p_needs_attention IS NULL OR p.needs_attention = p_needs_attention)
    ORDER BY p.created_at, p.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (SELECT json_agg(prebooking_json(p) ORDER BY p.created_at, p.id) FROM unnest(v_page[:p_limit]) p), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/local_starts",
        None,
        r"""-- Promises: the instants of wall-clock times at a resource, in the order given; NULL for one that the clocks skip.
-- Called by target_starts and move_targets.
CREATE OR REPLACE FUNCTION local_starts(p_resource_id uuid, p_targets jsonb)
RETURNS timestamptz[]
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT array_agg(
      slot_instant(
        (t.target ->> 'starts_at_local')::timestamp, make_interval(mins => COALESCE(c.slot_minutes, 60)), r.timezone
      )
      ORDER BY t.choice
    )
    FROM jsonb_array_elements(p_targets) WITH ORDINALITY AS t (target, choice)
    JOIN resources r ON r.id = p_resource_id
    LEFT JOIN schedules c ON c.resource_id = r.id
  );
END
$$""",
    ),
    Change(
        "functions/lot_of",
        None,
        r"""-- Promises: the lot of a prebooking in a draw: the least goes first; none without a draw. Anybody who knows the seed can
-- work it out. Called by run_openings. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION lot_of(p_seed text, p_prebooking_id uuid)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN encode(sha256(convert_to(p_seed || ' ' || p_prebooking_id, 'UTF8')), 'hex')""",
    ),
    Change(
        "functions/move_openings",
        None,
        r"""-- Promises: prebookings that wait fire when booking opens by the rules as they are now, unless they were told when; those
-- for which it is open before and after keep their order. Called by triggers schedules_move_openings and
-- providers_move_openings, whoever writes. Locks: the prebookings that move, then their jobs.
CREATE OR REPLACE FUNCTION move_openings()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_rules jsonb := to_jsonb(NEW);
  -- not every writer says when
  v_now timestamptz := GREATEST(NEW.updated_at, now());
BEGIN
  UPDATE prebookings p
  SET opens_at = o.opens_at, updated_at = v_now
  FROM (
    SELECT w.id, GREATEST(opening_of(w.resource_id, w.provider, w.targets, w.starts_at), v_now) AS opens_at
    FROM prebookings w
    WHERE (w.resource_id = (v_rules ->> 'resource_id')::uuid OR w.provider = v_rules ->> 'name')
      AND w.status = 'pending' AND NOT w.is_opening_given
  ) o
  WHERE p.id = o.id AND p.status = 'pending' AND p.opens_at <> o.opens_at
    AND GREATEST(p.opens_at, o.opens_at) > v_now;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/move_targets",
        None,
        r"""-- Promises: prebookings that wait at a resource mean the same wall-clock times in its new time zone, and fire when booking
-- opens there; a time that the new zone's clocks skip stays the instant it was. Called by trigger resources_move_targets,
-- whoever writes. Locks: the prebookings, then their jobs.
CREATE OR REPLACE FUNCTION move_targets()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- not every writer says when
  v_now timestamptz := GREATEST(NEW.updated_at, now());
BEGIN
  UPDATE prebookings p
  SET starts_at = o.starts_at,
      opens_at = CASE WHEN GREATEST(p.opens_at, o.opens_at) > v_now THEN o.opens_at ELSE p.opens_at END,
      updated_at = v_now
  FROM (
    SELECT m.id, m.starts_at, GREATEST(opening_of(NEW.id, NULL, m.targets, m.starts_at), v_now) AS opens_at
    FROM (
      SELECT w.id, w.targets, ARRAY(
        SELECT COALESCE(s.starts_at, w.starts_at[s.choice])
        FROM unnest(local_starts(NEW.id, w.targets)) WITH ORDINALITY AS s (starts_at, choice)
        ORDER BY s.choice
      ) AS starts_at
      FROM prebookings w
      WHERE w.resource_id = NEW.id AND w.status = 'pending'
    ) m
  ) o
  WHERE p.id = o.id AND p.status = 'pending';
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/opening_of",
        None,
        r"""-- Promises: when booking opens for the first target, by the rules of the resource or of the provider; NULL where nothing
-- says so. Called by create_prebooking and move_openings.
CREATE OR REPLACE FUNCTION opening_of(p_resource_id uuid, p_provider text, p_targets jsonb, p_starts timestamptz[])
RETURNS timestamptz
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_provider IS NULL THEN
    RETURN (
      SELECT slot_opens_at(p_starts[1], r.timezone, c.booking_window_days, c.opens_at_local)
      FROM resources r
      JOIN schedules c ON c.resource_id = r.id
      WHERE r.id = p_resource_id
    );
  END IF;
  RETURN (
    SELECT ((p_targets -> 0 ->> 'date')::date - p.booking_window_days + p.opens_at_local) AT TIME ZONE p.timezone
    FROM providers p
    WHERE p.name = p_provider
  );
END
$$""",
    ),
    Change(
        "functions/prebooking_job_key",
        None,
        r"""-- Promises: the key of the job that executes a prebooking; all of one opening at a resource are one job.
-- Called by prebookings_sync_jobs and sweep_prebookings. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION prebooking_job_key(p_prebooking prebookings)
RETURNS text
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN CASE
  WHEN (p_prebooking).provider IS NULL
  THEN (p_prebooking).resource_id || ' ' || extract(epoch FROM (p_prebooking).opens_at)
  ELSE (p_prebooking).id::text
END""",
    ),
    Change(
        "functions/prebooking_json",
        None,
        r"""-- Promises: the one JSON shape of a prebooking, with what was tried and what was answered, or with as much of that as
-- there was at p_at. Called by every function that answers one, and for its events.
CREATE OR REPLACE FUNCTION prebooking_json(p_prebooking prebookings, p_at timestamptz DEFAULT 'infinity')
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_prebooking.id,
    'resource_id', p_prebooking.resource_id,
    'provider', p_prebooking.provider,
    'target', p_prebooking.target,
    'preferences', p_prebooking.targets - 0,
    'customer_ref', (SELECT c.ref FROM customers c WHERE c.id = p_prebooking.customer_id),
    'units', p_prebooking.units,
    'payment_method', p_prebooking.payment_method,
    'join_waitlist', p_prebooking.join_waitlist,
    'opens_at', p_prebooking.opens_at,
    'status', p_prebooking.status,
    'booked_target', p_prebooking.targets -> p_prebooking.booked_choice - 1,
    'booking_id', p_prebooking.booking_id,
    'confirmation', p_prebooking.confirmation,
    'waitlist_entry_id', p_prebooking.waitlist_entry_id,
    'reason', p_prebooking.reason,
    'detail', p_prebooking.detail,
    'needs_attention', p_prebooking.needs_attention,
    'fired_at', p_prebooking.fired_at,
    'lateness_ms', p_prebooking.lateness_ms,
    'lottery_seed', (
      SELECT d.seed
      FROM lottery_draws d
      WHERE d.resource_id = p_prebooking.resource_id AND d.opens_at = p_prebooking.opens_at
        AND p_prebooking.created_at < d.opens_at AND d.drawn_at <= p_at
    ),
    'attempts', COALESCE(
      (
        SELECT json_agg(
          json_build_object(
            'target', p_prebooking.targets -> a.choice - 1, 'finding', a.finding, 'detail', a.detail,
            'confirmation', a.confirmation, 'started_at', a.started_at, 'fired_at', a.fired_at, 'ended_at', a.ended_at
          )
          ORDER BY a.id
        )
        FROM prebooking_attempts a
        WHERE a.prebooking_id = p_prebooking.id AND a.started_at <= p_at
      ),
      '[]'
    ),
    'version', p_prebooking.version,
    'created_at', p_prebooking.created_at,
    'updated_at', p_prebooking.updated_at
  );
END
$$""",
    ),
    Change(
        "functions/prebookings_ahead",
        None,
        r"""-- Promises: how many prebookings of the same opening at the same provider were made before this one and not cancelled.
-- Called by begin_prebooking.
CREATE OR REPLACE FUNCTION prebookings_ahead(p_prebooking prebookings)
RETURNS bigint
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT count(*)
    FROM prebookings p
    WHERE p.provider = p_prebooking.provider AND p.opens_at = p_prebooking.opens_at
      AND p.place_in_line < p_prebooking.place_in_line AND p.status <> 'cancelled'
  );
END
$$""",
    ),
    Change(
        "functions/prebookings_guard_update",
        None,
        r"""-- Promises: a prebooking's status takes only these steps, whoever writes, and each change grows its version.
-- Called by trigger prebookings_guard_update. Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION prebookings_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
    ('pending', 'executing'), ('pending', 'succeeded'), ('pending', 'failed'), ('pending', 'cancelled'),
    ('executing', 'succeeded'), ('executing', 'failed')
  ) THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object('prebooking_id', OLD.id, 'from', OLD.status, 'to', NEW.status);
  END IF;
  NEW.version := OLD.version + 1;
  RETURN NEW;
END
$$""",
    ),
    Change(
        "functions/prebookings_sync_jobs",
        None,
        r"""-- Promises: a prebooking that waits has a job due when it opens, and at a provider one that looks at the credentials the
-- day before; one that was cancelled has none. Called by triggers prebookings_sync_jobs_on_insert and _on_update, whoever
-- writes. Locks: the prebooking's jobs. All of one opening at a resource are one job.
CREATE OR REPLACE FUNCTION prebookings_sync_jobs()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- for getting ready: the provider's clock, the log-in, the connection
  c_ahead CONSTANT interval := interval '4 seconds';
BEGIN
  IF NEW.status = 'pending' AND NEW.provider IS NULL THEN
    PERFORM enqueue_opening(NEW, NEW.updated_at);
  ELSIF NEW.status = 'pending' THEN
    PERFORM enqueue_job(
      'execute_prebooking',
      jsonb_build_object('prebooking_id', NEW.id),
      GREATEST(NEW.opens_at - c_ahead, NEW.updated_at),
      prebooking_job_key(NEW),
      provider_queue(NEW.provider),
      0,
      p_now => NEW.updated_at
    );
    PERFORM check_credentials_before(NEW);
  ELSIF NEW.status = 'cancelled' THEN
    UPDATE jobs j
    SET status = 'cancelled', processed_at = NEW.updated_at, updated_at = NEW.updated_at
    WHERE j.dedupe_key = prebooking_job_key(NEW) AND j.status = 'pending' AND j.job_type = 'execute_prebooking';
  END IF;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/put_schedule",
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
  v_new := jsonb_populate_record(
    NULL::schedules, '{"opening_policy": "fifo"}' || p_rules || jsonb_build_object('resource_id', p_resource_id)
  );
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
         opens_at_local, cancel_cutoff_minutes, hold_minutes, offer_minutes, max_bookings_per_customer, opening_policy,
         version, updated_at)
      = (v_new.weekly, v_new.slot_minutes, v_new.max_bookings, v_new.max_units, v_new.horizon_days,
         v_new.min_notice_minutes, v_new.booking_window_days, v_new.opens_at_local, v_new.cancel_cutoff_minutes,
         v_new.hold_minutes, v_new.offer_minutes, v_new.max_bookings_per_customer, v_new.opening_policy, v_new.version,
         v_new.updated_at)
    WHERE c.resource_id = p_resource_id;
  END IF;
  RETURN refresh_future_schedule(p_actor, p_resource_id, p_now);
END
$$""",
    ),
    Change(
        "functions/queue_staggers",
        r"""-- Promises: the queues whose jobs are to start one after the other, and how many milliseconds apart.
-- Called by the processor and the worker when they begin.
CREATE OR REPLACE FUNCTION queue_staggers()
RETURNS TABLE (name text, stagger_ms integer)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT q.name, q.stagger_ms FROM job_queues q WHERE q.stagger_ms > 0
$$""",
        r"""-- Promises: the queues that somebody has set, and how many milliseconds apart their jobs are to start.
-- Called by the processor and the worker, when they begin and now and then.
CREATE OR REPLACE FUNCTION queue_staggers()
RETURNS TABLE (name text, stagger_ms integer)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT q.name, q.stagger_ms FROM job_queues q
$$""",
    ),
    Change(
        "functions/require_turn",
        None,
        r"""-- Promises: returns only if the locked slot has more places than prebookings are owed whose opening has come, and which
-- wait to be run: they go first. After ten minutes nobody waits for them any more: whoever should run them is not there.
-- Called by every function that takes a place for a newcomer. Raises: SB011 not_open_yet, but not for an admin who gives
-- a reason.
CREATE OR REPLACE FUNCTION require_turn(p_actor jsonb, p_slot slots, p_units integer, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_owed record;
BEGIN
  SELECT count(*) AS bookings, sum(p.units) AS units, min(p.opens_at) AS opens_at INTO v_owed
  FROM prebookings p
  WHERE p.resource_id = p_slot.resource_id AND p.status = 'pending'
    AND p.opens_at <= p_now AND p.opens_at > p_now - interval '10 minutes'
    AND p_slot.starts_at = ANY (p.starts_at);
  IF v_owed.bookings > 0 AND NOT may_override(p_actor) AND (
    p_slot.booked_bookings + v_owed.bookings + 1 > p_slot.max_bookings
    OR p_slot.booked_units + v_owed.units + p_units > p_slot.max_units
  ) THEN
    RAISE EXCEPTION 'not_open_yet' USING ERRCODE = 'SB011',
      DETAIL = json_build_object('slot_id', p_slot.id, 'opens_at', v_owed.opens_at, 'prebookings_ahead', v_owed.bookings);
  END IF;
END
$$""",
    ),
    Change(
        "functions/reschedule_booking",
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
        r"""-- Promises: the booking has its place in the new slot and no other, under the same id, or nothing changed.
-- Called by POST /v1/bookings/{id}/reschedule. Locks: both slots by id, booking, then its jobs.
-- Raises: SB005 booking_not_found, SB006 version_conflict, SB007 invalid_transition, SB010 idempotency_conflict,
-- SB001 slot_not_found, SB013 hold_expired, SB015 too_late, what require_open_slot, require_turn, require_room and
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
      PERFORM require_turn(v_actor, v_slot, v_booking.units, p_now);
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
        "functions/run_openings",
        None,
        r"""-- Promises: prebookings of a resource whose opening has come get their places, one after the other: by opening, then in
-- the order of their creation or of the draw. At most p_limit; answers how many, and how many are left. If the slots of
-- a new day are not there yet, that day is made and everything is left: the call after it finds them.
-- Called by the handler of run_openings, until nothing is left. Locks: resource and schedule (shared), prebookings, slots
-- and customers by id, then the new bookings and their jobs; for a new day what refresh_future_schedule locks.
CREATE OR REPLACE FUNCTION run_openings(
  p_actor jsonb, p_resource_id uuid, p_limit integer, p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS TABLE (succeeded integer, failed integer, remaining bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due uuid[] := ARRAY[]::uuid[];
  v_id uuid;
  v_status text;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  succeeded := 0;
  failed := 0;
  -- in a transaction of its own: prebookings after slots would be out of order
  IF EXISTS (
    SELECT FROM jobs j
    WHERE j.dedupe_key = p_resource_id::text AND j.job_type = 'refresh_schedule' AND j.status = 'pending'
      AND j.run_at <= p_now
  ) THEN
    PERFORM refresh_future_schedule(p_actor, p_resource_id, p_now);
  ELSE
    -- whoever changes the rules waits, for what they move is locked in another order
    PERFORM FROM resources r WHERE r.id = p_resource_id FOR SHARE;
    PERFORM FROM schedules c WHERE c.resource_id = p_resource_id FOR SHARE;
    PERFORM draw_lots(p_resource_id, p_now);
    v_due := ARRAY(
      SELECT p.id
      FROM prebookings p
      LEFT JOIN lottery_draws d
        ON d.resource_id = p.resource_id AND d.opens_at = p.opens_at AND p.created_at < d.opens_at
      WHERE p.resource_id = p_resource_id AND p.status = 'pending' AND p.opens_at <= p_now
      ORDER BY p.opens_at, lot_of(d.seed, p.id), p.place_in_line
      LIMIT p_limit
      FOR NO KEY UPDATE OF p
    );
  END IF;
  PERFORM
  FROM slots s
  JOIN prebookings p ON p.id = ANY (v_due)
  WHERE s.resource_id = p_resource_id AND s.starts_at = ANY (p.starts_at)
  ORDER BY s.id
  FOR NO KEY UPDATE OF s;
  PERFORM
  FROM customers c
  WHERE c.id IN (SELECT p.customer_id FROM prebookings p WHERE p.id = ANY (v_due))
  ORDER BY c.id
  FOR NO KEY UPDATE;

  FOREACH v_id IN ARRAY v_due LOOP
    v_status := book_first_choice(p_actor, v_id, p_now);
    succeeded := succeeded + (v_status = 'succeeded')::integer;
    failed := failed + (v_status = 'failed')::integer;
  END LOOP;
  SELECT count(*) INTO remaining
  FROM prebookings p
  WHERE p.resource_id = p_resource_id AND p.status = 'pending' AND p.opens_at <= p_now;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/sweep_prebookings",
        None,
        r"""-- Promises: a prebooking whose job is over without it, since its tries are used up or somebody cancelled it, has failed,
-- unless it was booked; a person looks at one of which nobody knows; one at a resource gets a job again. Answers how many.
-- Called by the job processor. Locks: prebookings, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION sweep_prebookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_patience CONSTANT interval := interval '1 minute';
  v_lost prebookings[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_lost := ARRAY(
    SELECT p
    FROM prebookings p
    WHERE p.status IN ('pending', 'executing') AND p.opens_at < p_now - c_patience
      AND NOT EXISTS (
        SELECT FROM jobs j
        WHERE j.dedupe_key = prebooking_job_key(p) AND j.status IN ('pending', 'processing')
      )
    ORDER BY p.opens_at, p.place_in_line
    LIMIT p_limit
    FOR NO KEY UPDATE SKIP LOCKED
  );
  UPDATE prebookings p
  SET status = CASE WHEN b.choice IS NULL THEN 'failed' ELSE 'succeeded' END,
      booked_choice = b.choice,
      confirmation = b.confirmation,
      reason = CASE WHEN b.choice IS NULL THEN 'gave_up' END,
      detail = CASE WHEN b.choice IS NULL THEN left(j.error_message, 500) END,
      needs_attention = b.choice IS NULL AND EXISTS (
        SELECT FROM prebooking_attempts a WHERE a.prebooking_id = p.id AND COALESCE(a.finding = 'unknown', true)
      ),
      updated_at = p_now
  FROM unnest(v_lost) l
  LEFT JOIN LATERAL (
    SELECT a.choice, a.confirmation FROM prebooking_attempts a WHERE a.prebooking_id = l.id AND a.finding = 'booked' LIMIT 1
  ) b ON true
  LEFT JOIN LATERAL (
    SELECT k.error_message
    FROM jobs k
    WHERE k.dedupe_key = prebooking_job_key(l) AND k.job_type = 'execute_prebooking'
    ORDER BY k.seq DESC
    LIMIT 1
  ) j ON true
  WHERE p.id = l.id AND l.provider IS NOT NULL;
  PERFORM enqueue_opening(l, p_now) FROM unnest(v_lost) l WHERE l.provider IS NULL;
  RETURN cardinality(v_lost);
END
$$""",
    ),
    Change(
        "functions/take_place",
        None,
        r"""-- Promises: a booking for a prebooking in a slot that is locked, if the slot is open, it has room, and the customer has not
-- reached the limit. Called by book_first_choice. Locks: customer, then the new booking and its job.
-- Raises: what require_open_slot, require_room and require_customer_limit raise.
CREATE OR REPLACE FUNCTION take_place(
  p_actor jsonb, p_slot slots, p_prebooking prebookings, p_now timestamptz DEFAULT now()
)
RETURNS bookings
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM require_open_slot(p_actor, p_slot, p_now);
  PERFORM require_room(p_slot, p_prebooking.units, 1, p_now);
  PERFORM require_customer_limit(p_actor, p_slot.resource_id, p_prebooking.customer_id, p_now);
  RETURN place_booking(
    p_slot, p_prebooking.customer_id, p_prebooking.units, p_prebooking.payment_method,
    jsonb_build_object('prebooking_id', p_prebooking.id),
    CASE p_prebooking.payment_method WHEN 'pay_now' THEN hold_until(p_slot.resource_id, p_now) END, p_now
  );
END
$$""",
    ),
    Change(
        "functions/target_starts",
        None,
        r"""-- Promises: the instants of wall-clock times at a resource that are still to come, in the order given.
-- Called by create_prebooking. Raises: SB025 invalid_target for one that the clocks skip, or that is past.
CREATE OR REPLACE FUNCTION target_starts(p_resource_id uuid, p_targets jsonb, p_now timestamptz DEFAULT now())
RETURNS timestamptz[]
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_starts timestamptz[] := local_starts(p_resource_id, p_targets);
  v_wrong integer;
BEGIN
  SELECT min(s.choice) INTO v_wrong
  FROM unnest(v_starts) WITH ORDINALITY AS s (starts_at, choice)
  WHERE COALESCE(s.starts_at <= p_now, true);
  IF v_wrong IS NOT NULL THEN
    RAISE EXCEPTION 'invalid_target' USING ERRCODE = 'SB025',
      DETAIL = json_build_object('target', p_targets -> v_wrong - 1, 'starts_at', v_starts[v_wrong]);
  END IF;
  RETURN v_starts;
END
$$""",
    ),
    Change(
        "functions/wait_in_line",
        None,
        r"""-- Promises: who lost in an opening and asked for it stands in the line of the first choice that is full, behind those
-- who lost before. Answers the entry, or NULL. Called by book_first_choice, which has the slots locked.
CREATE OR REPLACE FUNCTION wait_in_line(p_prebooking prebookings, p_now timestamptz DEFAULT now())
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_slot_id uuid;
  v_entry_id uuid;
BEGIN
  IF NOT p_prebooking.join_waitlist THEN
    RETURN NULL;
  END IF;

  SELECT s.id INTO v_slot_id
  FROM slots s
  JOIN prebooking_attempts a ON a.prebooking_id = p_prebooking.id AND s.starts_at = p_prebooking.starts_at[a.choice]
  WHERE s.resource_id = p_prebooking.resource_id AND NOT s.is_legacy AND a.finding IN ('slot_full', 'insufficient_units')
  ORDER BY a.choice, s.ends_at
  LIMIT 1;
  INSERT INTO waitlist_entries (slot_id, customer_id, units, payment_method, created_at, updated_at)
  SELECT v_slot_id, p_prebooking.customer_id, p_prebooking.units, p_prebooking.payment_method, p_now, p_now
  WHERE v_slot_id IS NOT NULL
  ON CONFLICT DO NOTHING;
  -- who stood there before stays where they are
  SELECT w.id INTO v_entry_id
  FROM waitlist_entries w
  WHERE w.slot_id = v_slot_id AND w.customer_id = p_prebooking.customer_id AND w.status IN ('waiting', 'offered');
  RETURN v_entry_id;
END
$$""",
    ),
    Change(
        "triggers/lottery_draws_refuse_change",
        None,
        r"""-- Whoever recomputes a draw must find the seed it was made with.
CREATE OR REPLACE TRIGGER lottery_draws_refuse_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON lottery_draws
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/prebookings_guard_update",
        None,
        r"""CREATE OR REPLACE TRIGGER prebookings_guard_update
BEFORE UPDATE ON prebookings
FOR EACH ROW
EXECUTE FUNCTION prebookings_guard_update()""",
    ),
    Change(
        "triggers/prebookings_refuse_delete",
        None,
        r"""-- A prebooking ends by a status, never by vanishing.
CREATE OR REPLACE TRIGGER prebookings_refuse_delete
BEFORE DELETE OR TRUNCATE ON prebookings
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/prebookings_sync_jobs_on_insert",
        None,
        r"""CREATE OR REPLACE TRIGGER prebookings_sync_jobs_on_insert
AFTER INSERT ON prebookings
FOR EACH ROW
EXECUTE FUNCTION prebookings_sync_jobs()""",
    ),
    Change(
        "triggers/prebookings_sync_jobs_on_update",
        None,
        r"""CREATE OR REPLACE TRIGGER prebookings_sync_jobs_on_update
AFTER UPDATE OF status, opens_at ON prebookings
FOR EACH ROW
WHEN (OLD.status <> NEW.status OR OLD.opens_at <> NEW.opens_at)
EXECUTE FUNCTION prebookings_sync_jobs()""",
    ),
    Change(
        "triggers/prebookings_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER prebookings_write_audit
AFTER INSERT OR UPDATE ON prebookings
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('prebooking')""",
    ),
    Change(
        "triggers/providers_move_openings",
        None,
        r"""CREATE OR REPLACE TRIGGER providers_move_openings
AFTER UPDATE OF booking_window_days, opens_at_local, timezone ON providers
FOR EACH ROW
WHEN (
  OLD.booking_window_days IS DISTINCT FROM NEW.booking_window_days OR OLD.opens_at_local <> NEW.opens_at_local
  OR OLD.timezone <> NEW.timezone
)
EXECUTE FUNCTION move_openings()""",
    ),
    Change(
        "triggers/resources_move_targets",
        None,
        r"""CREATE OR REPLACE TRIGGER resources_move_targets
AFTER UPDATE OF timezone ON resources
FOR EACH ROW
WHEN (OLD.timezone <> NEW.timezone)
EXECUTE FUNCTION move_targets()""",
    ),
    Change(
        "triggers/schedules_move_openings",
        None,
        r"""CREATE OR REPLACE TRIGGER schedules_move_openings
AFTER UPDATE OF booking_window_days, opens_at_local ON schedules
FOR EACH ROW
WHEN (
  OLD.booking_window_days IS DISTINCT FROM NEW.booking_window_days OR OLD.opens_at_local <> NEW.opens_at_local
)
EXECUTE FUNCTION move_openings()""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
