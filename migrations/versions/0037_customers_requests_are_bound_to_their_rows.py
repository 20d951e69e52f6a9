"""customers' requests are bound to their rows.

Revision ID: 0037
Revises: 0036
"""

from alembic import op

from migrations import frozen
from migrations.frozen import Change

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/act_for",
        None,
        r"""-- Promises: from here on this transaction sees rows of that customer alone, as far as policies bind it; where none is given,
-- it sees what whoever acts already may, or everybody's where nobody acts yet. Called first by the functions that read for a
-- customer.
CREATE OR REPLACE FUNCTION act_for(p_customer_ref text)
RETURNS text
LANGUAGE sql
VOLATILE
RETURN set_config(
  'holdfast.actor',
  (
    COALESCE(NULLIF(current_setting('holdfast.actor', true), '')::jsonb, '{}')
    || CASE WHEN p_customer_ref IS NULL THEN '{}' ELSE jsonb_build_object('customer_ref', p_customer_ref) END
  )::text,
  true
)""",
    ),
    Change(
        "functions/acting",
        None,
        r"""-- Promises: what is known under that name of who acts in this transaction, or null. Called by the row-level policies of
-- sql/roles/rows.txt, and by acting_customer.
CREATE OR REPLACE FUNCTION acting(p_what text)
RETURNS text
LANGUAGE sql
STABLE PARALLEL SAFE
-- on a reused connection an unset setting reads '', not NULL
RETURN NULLIF(current_setting('holdfast.actor', true), '')::jsonb ->> p_what""",
    ),
    Change(
        "functions/acting_customer",
        None,
        r"""-- Promises: the id of the customer who acts in this transaction, or null where none does. Called by the row-level policies,
-- with more rights than who asks: under the policies themselves it would ask for ever.
CREATE OR REPLACE FUNCTION acting_customer()
RETURNS uuid
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (SELECT c.id FROM customers c WHERE c.ref = acting('customer_ref'));
END
$$""",
    ),
    Change(
        "functions/acts_for_everybody",
        None,
        r"""-- Promises: whether somebody acts in this transaction, and as no customer: an admin, a frontend, the system.
-- Called by the row-level policies, which hide every row where nobody acts.
CREATE OR REPLACE FUNCTION acts_for_everybody()
RETURNS boolean
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN CASE COALESCE(current_setting('holdfast.actor', true), '')
  WHEN '' THEN false
  ELSE current_setting('holdfast.actor', true)::jsonb ->> 'customer_ref' IS NULL
END""",
    ),
    Change(
        "functions/auto_sync_answers",
        None,
        r"""-- Promises: who is asked by an auto-sync and what each answered, as JSON. Called by get_auto_sync, which has seen that whoever
-- reads may: members of a crew know each other's names.
CREATE OR REPLACE FUNCTION auto_sync_answers(p_auto_sync_id uuid)
RETURNS jsonb
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT COALESCE(
    jsonb_agg(
      jsonb_build_object(
        'id', p.id, 'customer_ref', c.ref, 'name', c.name, 'answer', p.answer, 'times', p.time_ids,
        'answered_at', p.answered_at
      )
      ORDER BY p.created_at, c.name, p.id
    ),
    '[]'
  )
  FROM auto_sync_participants p
  JOIN customers c ON c.id = p.customer_id
  WHERE p.auto_sync_id = p_auto_sync_id AND p.removed_at IS NULL
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
    ),
    Change(
        "functions/create_auto_sync",
        r"""-- Promises: the crew is asked whether and when, its reminder is due, and those it asks are invited; once per key.
-- Called by POST /v1/auto-syncs. Locks: crew, then what is new.
-- Raises: SB009 resource_not_found, SB010 idempotency_conflict, SB030 crew_not_found, SB031 crew_member_not_found (named,
-- and not in the crew), SB034 invalid_times.
CREATE OR REPLACE FUNCTION create_auto_sync(
  p_actor jsonb,
  p_crew_id uuid,
  p_event_name text,
  p_timezone text,
  p_response_goal text DEFAULT 'everyone',
  p_goal_number integer DEFAULT NULL,
  p_goal_share numeric DEFAULT NULL,
  p_named_refs text[] DEFAULT '{}',
  p_reminder_after interval DEFAULT '24 hours',
  p_pause_after interval DEFAULT '48 hours',
  p_times jsonb DEFAULT '[]',
  p_resource_id uuid DEFAULT NULL,
  p_units integer DEFAULT 1,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (auto_sync_id uuid, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_crew crews;
  v_named bigint;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_crew := lock_crew(p_actor, p_crew_id);

  body := replay_request(p_actor ->> 'id', 'create_auto_sync', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    IF p_resource_id IS NOT NULL THEN
      PERFORM get_resource(p_resource_id);
    END IF;
    INSERT INTO auto_syncs AS a (
      crew_id, organizer_id, event_name, response_goal, goal_number, goal_share, timezone, reminder_after, pause_after,
      resource_id, units, started_at, created_at, updated_at
    )
    VALUES (
      p_crew_id, v_crew.organizer_id, p_event_name, p_response_goal, p_goal_number, p_goal_share, p_timezone,
      p_reminder_after, p_pause_after, p_resource_id, p_units, p_now, p_now, p_now
    )
    RETURNING a.id INTO auto_sync_id;
    PERFORM propose_times(auto_sync_id, p_resource_id, p_times, p_now);
    UPDATE auto_sync_participants p
    SET is_named = true
    FROM customers c
    WHERE p.auto_sync_id = create_auto_sync.auto_sync_id AND c.id = p.customer_id AND c.ref = ANY (p_named_refs);
    GET DIAGNOSTICS v_named = ROW_COUNT;
    IF v_named < (SELECT count(DISTINCT r) FROM unnest(p_named_refs) r) THEN
      RAISE EXCEPTION 'crew_member_not_found' USING ERRCODE = 'SB031',
        DETAIL = json_build_object('crew_id', p_crew_id, 'customer_refs', p_named_refs);
    END IF;
    body := get_auto_sync(auto_sync_id);
    PERFORM remember_request(p_actor ->> 'id', 'create_auto_sync', p_idempotency_key, p_request_hash, body, p_now);
  END IF;
  auto_sync_id := (body ->> 'id')::uuid;
  RETURN NEXT;
END
$$""",
        r"""-- Promises: the crew is asked whether and when, its reminder is due, and those it asks are invited; once per key.
-- Called by POST /v1/auto-syncs. Locks: crew, then what is new.
-- Raises: SB009 resource_not_found, SB010 idempotency_conflict, SB030 crew_not_found, SB031 crew_member_not_found (named,
-- and not in the crew), SB034 invalid_times.
CREATE OR REPLACE FUNCTION create_auto_sync(
  p_actor jsonb,
  p_crew_id uuid,
  p_event_name text,
  p_timezone text,
  p_response_goal text DEFAULT 'everyone',
  p_goal_number integer DEFAULT NULL,
  p_goal_share numeric DEFAULT NULL,
  p_named_refs text[] DEFAULT '{}',
  p_reminder_after interval DEFAULT '24 hours',
  p_pause_after interval DEFAULT '48 hours',
  p_times jsonb DEFAULT '[]',
  p_resource_id uuid DEFAULT NULL,
  p_units integer DEFAULT 1,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (auto_sync_id uuid, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_crew crews;
  v_named bigint;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_crew := lock_crew(p_actor, p_crew_id);

  body := replay_request(p_actor ->> 'id', 'create_auto_sync', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    IF p_resource_id IS NOT NULL THEN
      PERFORM get_resource(p_resource_id);
    END IF;
    INSERT INTO auto_syncs AS a (
      crew_id, organizer_id, event_name, response_goal, goal_number, goal_share, timezone, reminder_after, pause_after,
      resource_id, units, started_at, created_at, updated_at
    )
    VALUES (
      p_crew_id, v_crew.organizer_id, p_event_name, p_response_goal, p_goal_number, p_goal_share, p_timezone,
      p_reminder_after, p_pause_after, p_resource_id, p_units, p_now, p_now, p_now
    )
    RETURNING a.id INTO auto_sync_id;
    PERFORM propose_times(auto_sync_id, p_resource_id, p_times, p_now);
    v_named := name_participants(auto_sync_id, p_named_refs);
    IF v_named < (SELECT count(DISTINCT r) FROM unnest(p_named_refs) r) THEN
      RAISE EXCEPTION 'crew_member_not_found' USING ERRCODE = 'SB031',
        DETAIL = json_build_object('crew_id', p_crew_id, 'customer_refs', p_named_refs);
    END IF;
    body := get_auto_sync(auto_sync_id);
    PERFORM remember_request(p_actor ->> 'id', 'create_auto_sync', p_idempotency_key, p_request_hash, body, p_now);
  END IF;
  auto_sync_id := (body ->> 'id')::uuid;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/get_auto_sync",
        r"""-- Promises: one auto-sync as the API answers it, with who is asked and what each answered; to a customer, if its crew is one
-- of theirs. Called by GET /v1/auto-syncs/{id} and by every function that changes one. Raises: SB032 auto_sync_not_found.
CREATE OR REPLACE FUNCTION get_auto_sync(p_auto_sync_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync auto_syncs;
BEGIN
  SELECT a.* INTO v_sync
  FROM auto_syncs a
  WHERE a.id = p_auto_sync_id AND (p_customer_ref IS NULL OR a.crew_id IN (SELECT crews_of(p_customer_ref)));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'auto_sync_not_found' USING ERRCODE = 'SB032',
      DETAIL = json_build_object('auto_sync_id', p_auto_sync_id);
  END IF;
  RETURN auto_sync_json(v_sync)::jsonb || jsonb_build_object('participants', COALESCE(
    (
      SELECT jsonb_agg(
        jsonb_build_object(
          'id', p.id, 'customer_ref', c.ref, 'name', c.name, 'answer', p.answer, 'times', p.time_ids,
          'answered_at', p.answered_at
        )
        ORDER BY p.created_at, c.name, p.id
      )
      FROM auto_sync_participants p
      JOIN customers c ON c.id = p.customer_id
      WHERE p.auto_sync_id = p_auto_sync_id AND p.removed_at IS NULL
    ),
    '[]'
  ));
END
$$""",
        r"""-- Promises: one auto-sync as the API answers it, with who is asked and what each answered; to a customer, if its crew is one
-- of theirs. Called by GET /v1/auto-syncs/{id} and by every function that changes one. Raises: SB032 auto_sync_not_found.
CREATE OR REPLACE FUNCTION get_auto_sync(p_auto_sync_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync auto_syncs;
BEGIN
  PERFORM act_for(p_customer_ref);
  SELECT a.* INTO v_sync
  FROM auto_syncs a
  WHERE a.id = p_auto_sync_id AND (p_customer_ref IS NULL OR a.crew_id IN (SELECT crews_of(p_customer_ref)));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'auto_sync_not_found' USING ERRCODE = 'SB032',
      DETAIL = json_build_object('auto_sync_id', p_auto_sync_id);
  END IF;
  RETURN auto_sync_json(v_sync)::jsonb || jsonb_build_object('participants', auto_sync_answers(p_auto_sync_id));
END
$$""",
    ),
    Change(
        "functions/get_booking",
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
        r"""-- Promises: one booking as the API answers it; of that customer alone, where one is given.
-- Called by GET /v1/bookings/{id}. Raises: SB005 booking_not_found.
CREATE OR REPLACE FUNCTION get_booking(p_booking_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS TABLE (booking_id uuid, booking_version integer, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM act_for(p_customer_ref);
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
        "functions/get_crew",
        r"""-- Promises: one crew as the API answers it; to a customer, if it is one of theirs.
-- Called by GET /v1/crews/{id} and by whatever needs it to be there. Raises: SB030 crew_not_found.
CREATE OR REPLACE FUNCTION get_crew(p_crew_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_crew crews;
BEGIN
  SELECT w.* INTO v_crew
  FROM crews w
  WHERE w.id = p_crew_id AND (p_customer_ref IS NULL OR w.id IN (SELECT crews_of(p_customer_ref)));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crew_not_found' USING ERRCODE = 'SB030', DETAIL = json_build_object('crew_id', p_crew_id);
  END IF;
  RETURN crew_json(v_crew);
END
$$""",
        r"""-- Promises: one crew as the API answers it; to a customer, if it is one of theirs.
-- Called by GET /v1/crews/{id} and by whatever needs it to be there. Raises: SB030 crew_not_found.
CREATE OR REPLACE FUNCTION get_crew(p_crew_id uuid, p_customer_ref text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_crew crews;
BEGIN
  PERFORM act_for(p_customer_ref);
  SELECT w.* INTO v_crew
  FROM crews w
  WHERE w.id = p_crew_id AND (p_customer_ref IS NULL OR w.id IN (SELECT crews_of(p_customer_ref)));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crew_not_found' USING ERRCODE = 'SB030', DETAIL = json_build_object('crew_id', p_crew_id);
  END IF;
  RETURN crew_json(v_crew);
END
$$""",
    ),
    Change(
        "functions/get_prebooking",
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
  PERFORM act_for(p_customer_ref);
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
        "functions/get_preferences",
        r"""-- Promises: how a customer wants to be told; the defaults for one who is not known yet.
-- Called by GET /v1/customers/{ref}/preferences and put_preferences.
CREATE OR REPLACE FUNCTION get_preferences(p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT json_build_object(
      'customer_ref', p_customer_ref,
      'language', c.language,
      'timezone', c.timezone,
      'email_opt_out', COALESCE(c.email_opt_out, false),
      'sms_opt_out', COALESCE(c.sms_opt_out, false)
    )
    FROM (VALUES (p_customer_ref)) AS v (ref)
    LEFT JOIN customers c ON c.ref = v.ref
  );
END
$$""",
        r"""-- Promises: how a customer wants to be told; the defaults for one who is not known yet.
-- Called by GET /v1/customers/{ref}/preferences and put_preferences.
CREATE OR REPLACE FUNCTION get_preferences(p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM act_for(p_customer_ref);
  RETURN (
    SELECT json_build_object(
      'customer_ref', p_customer_ref,
      'language', c.language,
      'timezone', c.timezone,
      'email_opt_out', COALESCE(c.email_opt_out, false),
      'sms_opt_out', COALESCE(c.sms_opt_out, false)
    )
    FROM (VALUES (p_customer_ref)) AS v (ref)
    LEFT JOIN customers c ON c.ref = v.ref
  );
END
$$""",
    ),
    Change(
        "functions/get_waitlist_entry",
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
  PERFORM act_for(p_customer_ref);
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
        "functions/list_auto_syncs",
        r"""-- Promises: one page of the auto-syncs that pass every filter, in order of creation, and the next page's cursor.
-- Called by GET /v1/auto-syncs. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_auto_syncs(
  p_crew_id uuid DEFAULT NULL,
  p_status text DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
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
  v_page auto_syncs[];
BEGIN
  v_page := ARRAY(
    SELECT a
    FROM auto_syncs a
    WHERE (a.created_at, a.id) > (v_after.at, v_after.id)
      AND (p_crew_id IS NULL OR a.crew_id = p_crew_id)
      AND (p_status IS NULL OR a.status = p_status)
      AND (p_customer_ref IS NULL OR a.crew_id IN (SELECT crews_of(p_customer_ref)))
    ORDER BY a.created_at, a.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (SELECT json_agg(auto_sync_json(a) ORDER BY a.created_at, a.id) FROM unnest(v_page[:p_limit]) a), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
        r"""-- Promises: one page of the auto-syncs that pass every filter, in order of creation, and the next page's cursor.
-- Called by GET /v1/auto-syncs. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_auto_syncs(
  p_crew_id uuid DEFAULT NULL,
  p_status text DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
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
  v_page auto_syncs[];
BEGIN
  PERFORM act_for(p_customer_ref);
  v_page := ARRAY(
    SELECT a
    FROM auto_syncs a
    WHERE (a.created_at, a.id) > (v_after.at, v_after.id)
      AND (p_crew_id IS NULL OR a.crew_id = p_crew_id)
      AND (p_status IS NULL OR a.status = p_status)
      AND (p_customer_ref IS NULL OR a.crew_id IN (SELECT crews_of(p_customer_ref)))
    ORDER BY a.created_at, a.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (SELECT json_agg(auto_sync_json(a) ORDER BY a.created_at, a.id) FROM unnest(v_page[:p_limit]) a), '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
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
  PERFORM act_for(p_customer_ref);
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
        "functions/list_credentials",
        r"""-- Promises: one page of the credentials that pass every filter, in order of creation, and the next page's cursor or null;
-- nothing of a secret. Called by GET /v1/credentials. Planned anew each time: the filters decide which index serves.
CREATE OR REPLACE FUNCTION list_credentials(
  p_customer_ref text DEFAULT NULL, p_provider text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page provider_credentials[];
BEGIN
  v_page := ARRAY(
    SELECT c
    FROM provider_credentials c
    WHERE (c.created_at, c.id) > (v_after.at, v_after.id)
      AND (p_customer_ref IS NULL OR c.customer_id = (SELECT u.id FROM customers u WHERE u.ref = p_customer_ref))
      AND (p_provider IS NULL OR c.provider = p_provider)
    ORDER BY c.created_at, c.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(credentials_json(c, u.ref) ORDER BY c.created_at, c.id)
        FROM unnest(v_page[:p_limit]) c
        JOIN customers u ON u.id = c.customer_id
      ),
      '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
        r"""-- Promises: one page of the credentials that pass every filter, in order of creation, and the next page's cursor or null;
-- nothing of a secret. Called by GET /v1/credentials. Planned anew each time: the filters decide which index serves.
CREATE OR REPLACE FUNCTION list_credentials(
  p_customer_ref text DEFAULT NULL, p_provider text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page provider_credentials[];
BEGIN
  PERFORM act_for(p_customer_ref);
  v_page := ARRAY(
    SELECT c
    FROM provider_credentials c
    WHERE (c.created_at, c.id) > (v_after.at, v_after.id)
      AND (p_customer_ref IS NULL OR c.customer_id = (SELECT u.id FROM customers u WHERE u.ref = p_customer_ref))
      AND (p_provider IS NULL OR c.provider = p_provider)
    ORDER BY c.created_at, c.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(credentials_json(c, u.ref) ORDER BY c.created_at, c.id)
        FROM unnest(v_page[:p_limit]) c
        JOIN customers u ON u.id = c.customer_id
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
        "functions/list_crew_members",
        r"""-- Promises: one page of the crew's members who have not left, in the order in which they joined, and the next page's cursor.
-- Called by GET /v1/crews/{id}/members. Raises: SB030 crew_not_found.
CREATE OR REPLACE FUNCTION list_crew_members(
  p_crew_id uuid, p_customer_ref text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page crew_members[];
BEGIN
  PERFORM get_crew(p_crew_id, p_customer_ref);
  v_page := ARRAY(
    SELECT m
    FROM crew_members m
    WHERE m.crew_id = p_crew_id AND m.left_at IS NULL AND (m.joined_at, m.id) > (v_after.at, v_after.id)
    ORDER BY m.joined_at, m.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items',
    COALESCE((SELECT json_agg(crew_member_json(m) ORDER BY m.joined_at, m.id) FROM unnest(v_page[:p_limit]) m), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].joined_at, v_page[p_limit].id) END
  );
END
$$""",
        r"""-- Promises: one page of the crew's members who have not left, in the order in which they joined, and the next page's cursor.
-- Called by GET /v1/crews/{id}/members. Raises: SB030 crew_not_found.
CREATE OR REPLACE FUNCTION list_crew_members(
  p_crew_id uuid, p_customer_ref text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page crew_members[];
BEGIN
  PERFORM act_for(p_customer_ref);
  PERFORM get_crew(p_crew_id, p_customer_ref);
  v_page := ARRAY(
    SELECT m
    FROM crew_members m
    WHERE m.crew_id = p_crew_id AND m.left_at IS NULL AND (m.joined_at, m.id) > (v_after.at, v_after.id)
    ORDER BY m.joined_at, m.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items',
    COALESCE((SELECT json_agg(crew_member_json(m) ORDER BY m.joined_at, m.id) FROM unnest(v_page[:p_limit]) m), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].joined_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/list_crews",
        r"""-- Promises: one page of the crews, or of those of a customer, in order of creation, and the next page's cursor.
-- Called by GET /v1/crews. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_crews(
  p_customer_ref text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page crews[];
BEGIN
  v_page := ARRAY(
    SELECT w
    FROM crews w
    WHERE (w.created_at, w.id) > (v_after.at, v_after.id)
      AND (p_customer_ref IS NULL OR w.id IN (SELECT crews_of(p_customer_ref)))
    ORDER BY w.created_at, w.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE((SELECT json_agg(crew_json(w) ORDER BY w.created_at, w.id) FROM unnest(v_page[:p_limit]) w), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
        r"""-- Promises: one page of the crews, or of those of a customer, in order of creation, and the next page's cursor.
-- Called by GET /v1/crews. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_crews(
  p_customer_ref text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page crews[];
BEGIN
  PERFORM act_for(p_customer_ref);
  v_page := ARRAY(
    SELECT w
    FROM crews w
    WHERE (w.created_at, w.id) > (v_after.at, v_after.id)
      AND (p_customer_ref IS NULL OR w.id IN (SELECT crews_of(p_customer_ref)))
    ORDER BY w.created_at, w.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE((SELECT json_agg(crew_json(w) ORDER BY w.created_at, w.id) FROM unnest(v_page[:p_limit]) w), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/list_messages",
        r"""-- Promises: one page of the messages that pass every filter, in order of creation, and the next page's cursor; no address
-- and no text. Called by GET /v1/messages. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_messages(
  p_customer_ref text DEFAULT NULL, p_status text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page messages[];
BEGIN
  v_page := ARRAY(
    SELECT m
    FROM messages m
    WHERE (m.created_at, m.id) > (v_after.at, v_after.id)
      AND (p_customer_ref IS NULL OR m.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref))
      AND (p_status IS NULL OR m.status = p_status)
    ORDER BY m.created_at, m.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(
          to_jsonb(m) - '{customer_id,told_status,told_starts_at,sending_at}'::text[]
            || jsonb_build_object('customer_ref', c.ref)
          ORDER BY m.created_at, m.id
        )
        FROM unnest(v_page[:p_limit]) m
        JOIN customers c ON c.id = m.customer_id
      ),
      '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
        r"""-- Promises: one page of the messages that pass every filter, in order of creation, and the next page's cursor; no address
-- and no text. Called by GET /v1/messages. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_messages(
  p_customer_ref text DEFAULT NULL, p_status text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page messages[];
BEGIN
  PERFORM act_for(p_customer_ref);
  v_page := ARRAY(
    SELECT m
    FROM messages m
    WHERE (m.created_at, m.id) > (v_after.at, v_after.id)
      AND (p_customer_ref IS NULL OR m.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref))
      AND (p_status IS NULL OR m.status = p_status)
    ORDER BY m.created_at, m.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(
          to_jsonb(m) - '{customer_id,told_status,told_starts_at,sending_at}'::text[]
            || jsonb_build_object('customer_ref', c.ref)
          ORDER BY m.created_at, m.id
        )
        FROM unnest(v_page[:p_limit]) m
        JOIN customers c ON c.id = m.customer_id
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
        "functions/list_prebookings",
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
  PERFORM act_for(p_customer_ref);
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
        "functions/list_waitlist",
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
  PERFORM act_for(p_customer_ref);
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
        "functions/name_participants",
        None,
        r"""-- Promises: the participants of an auto-sync with these refs are those whose answers its goal wants; how many there are.
-- Called by create_auto_sync, which has just made it. Locks: the participants.
CREATE OR REPLACE FUNCTION name_participants(p_auto_sync_id uuid, p_refs text[])
RETURNS bigint
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_named bigint;
BEGIN
  UPDATE auto_sync_participants p
  SET is_named = true
  FROM customers c
  WHERE p.auto_sync_id = p_auto_sync_id AND c.id = p.customer_id AND c.ref = ANY (p_refs);
  GET DIAGNOSTICS v_named = ROW_COUNT;
  RETURN v_named;
END
$$""",
    ),
    Change(
        "functions/put_credentials",
        r"""-- Promises: these are the customer's credentials at the provider, in place of older ones, unchecked; and a job to check
-- them waits. Called by PUT /v1/credentials/{provider}, with what it encrypted for that customer and provider.
-- Locks: customer (if it is new), credentials, job. Raises: SB022 provider_not_found.
CREATE OR REPLACE FUNCTION put_credentials(
  p_actor jsonb,
  p_provider text,
  p_customer_ref text,
  p_key_id text,
  p_nonce bytea,
  p_ciphertext bytea,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer jsonb := own_customer(p_actor, jsonb_build_object('ref', p_customer_ref));
  v_credentials provider_credentials;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_provider(p_provider);
  INSERT INTO provider_credentials AS c (provider, customer_id, key_id, nonce, ciphertext, created_at, updated_at)
  VALUES (p_provider, upsert_customer(v_customer, p_now), p_key_id, p_nonce, p_ciphertext, p_now, p_now)
  ON CONFLICT (provider, customer_id) DO UPDATE
    SET key_id = EXCLUDED.key_id,
        nonce = EXCLUDED.nonce,
        ciphertext = EXCLUDED.ciphertext,
        status = 'unchecked',
        checked_at = NULL,
        check_detail = NULL,
        version = c.version + 1,
        updated_at = EXCLUDED.updated_at
  RETURNING * INTO v_credentials;
  PERFORM enqueue_job(
    'check_credentials',
    jsonb_build_object('credentials_id', v_credentials.id),
    p_dedupe_key => v_credentials.id::text,
    p_queue => provider_queue(p_provider),
    p_now => p_now
  );
  RETURN credentials_json(v_credentials, v_customer ->> 'ref');
END
$$""",
        r"""-- Promises: these are the customer's credentials at the provider, in place of older ones, unchecked; and a job to check
-- them waits. Called by PUT /v1/credentials/{provider}, with what it encrypted for that customer and provider.
-- Locks: customer (if it is new), credentials, job. Raises: SB022 provider_not_found.
CREATE OR REPLACE FUNCTION put_credentials(
  p_actor jsonb,
  p_provider text,
  p_customer_ref text,
  p_key_id text,
  p_nonce bytea,
  p_ciphertext bytea,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer jsonb := own_customer(p_actor, jsonb_build_object('ref', p_customer_ref));
  v_customer_id uuid;
  v_credentials provider_credentials;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_provider(p_provider);
  v_customer_id := upsert_customer(v_customer, p_now);
  INSERT INTO provider_credentials AS c (provider, customer_id, key_id, nonce, ciphertext, created_at, updated_at)
  VALUES (p_provider, v_customer_id, p_key_id, p_nonce, p_ciphertext, p_now, p_now)
  ON CONFLICT (provider, customer_id) DO UPDATE
    SET key_id = EXCLUDED.key_id,
        nonce = EXCLUDED.nonce,
        ciphertext = EXCLUDED.ciphertext,
        status = 'unchecked',
        checked_at = NULL,
        check_detail = NULL,
        version = c.version + 1,
        updated_at = EXCLUDED.updated_at
  RETURNING * INTO v_credentials;
  PERFORM enqueue_job(
    'check_credentials',
    jsonb_build_object('credentials_id', v_credentials.id),
    p_dedupe_key => v_credentials.id::text,
    p_queue => provider_queue(p_provider),
    p_now => p_now
  );
  RETURN credentials_json(v_credentials, v_customer ->> 'ref');
END
$$""",
    ),
    Change(
        "functions/record_response",
        r"""-- Promises: what a participant answers is on record, and stands until they answer otherwise; the same twice is once.
-- Called by POST /v1/auto-syncs/{id}/responses with who they are, and by POST /respond/{token} with the participant.
-- Locks: auto-sync, participant, then what an answer that meets the goal locks.
-- Raises: SB031 crew_member_not_found (who is not asked), SB032 auto_sync_not_found, SB033 auto_sync_over.
CREATE OR REPLACE FUNCTION record_response(
  p_actor jsonb,
  p_answer text,
  p_times uuid[] DEFAULT '{}',
  p_auto_sync_id uuid DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_participant_id uuid DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync_id uuid := COALESCE(
    p_auto_sync_id, (SELECT p.auto_sync_id FROM auto_sync_participants p WHERE p.id = p_participant_id)
  );
  v_participant auto_sync_participants;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_auto_sync(v_sync_id, p_actor ->> 'customer_ref');
  PERFORM FROM auto_syncs a WHERE a.id = v_sync_id FOR NO KEY UPDATE;
  SELECT p.* INTO v_participant
  FROM auto_sync_participants p
  JOIN customers c ON c.id = p.customer_id
  WHERE p.auto_sync_id = v_sync_id AND p.removed_at IS NULL AND (p.id = p_participant_id OR c.ref = p_customer_ref)
  FOR NO KEY UPDATE OF p;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crew_member_not_found' USING ERRCODE = 'SB031',
      DETAIL = json_build_object('auto_sync_id', v_sync_id, 'customer_ref', p_customer_ref);
  END IF;

  IF (SELECT a.status NOT IN ('running', 'paused') FROM auto_syncs a WHERE a.id = v_sync_id) THEN
    RAISE EXCEPTION 'auto_sync_over' USING ERRCODE = 'SB033', DETAIL = json_build_object('auto_sync_id', v_sync_id);
  END IF;
  UPDATE auto_sync_participants p
  SET answer = p_answer,
      time_ids = p_times,
      answered_at = p_now,
      updated_at = p_now
  WHERE p.id = v_participant.id
    AND (p.answer IS DISTINCT FROM p_answer OR NOT (p.time_ids <@ p_times AND p.time_ids @> p_times));
  RETURN get_auto_sync(v_sync_id);
END
$$""",
        r"""-- Promises: what a participant answers is on record, and stands until they answer otherwise; the same twice is once.
-- Called by POST /v1/auto-syncs/{id}/responses with who they are, and by POST /respond/{token} with the participant.
-- Locks: auto-sync, participant, then what an answer that meets the goal locks.
-- Raises: SB031 crew_member_not_found (who is not asked), SB032 auto_sync_not_found, SB033 auto_sync_over.
CREATE OR REPLACE FUNCTION record_response(
  p_actor jsonb,
  p_answer text,
  p_times uuid[] DEFAULT '{}',
  p_auto_sync_id uuid DEFAULT NULL,
  p_customer_ref text DEFAULT NULL,
  p_participant_id uuid DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync_id uuid := p_auto_sync_id;
  v_participant auto_sync_participants;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF v_sync_id IS NULL THEN
    SELECT p.auto_sync_id INTO v_sync_id FROM auto_sync_participants p WHERE p.id = p_participant_id;
  END IF;
  PERFORM get_auto_sync(v_sync_id, p_actor ->> 'customer_ref');
  PERFORM FROM auto_syncs a WHERE a.id = v_sync_id FOR NO KEY UPDATE;
  SELECT p.* INTO v_participant
  FROM auto_sync_participants p
  JOIN customers c ON c.id = p.customer_id
  WHERE p.auto_sync_id = v_sync_id AND p.removed_at IS NULL AND (p.id = p_participant_id OR c.ref = p_customer_ref)
  FOR NO KEY UPDATE OF p;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crew_member_not_found' USING ERRCODE = 'SB031',
      DETAIL = json_build_object('auto_sync_id', v_sync_id, 'customer_ref', p_customer_ref);
  END IF;

  IF (SELECT a.status NOT IN ('running', 'paused') FROM auto_syncs a WHERE a.id = v_sync_id) THEN
    RAISE EXCEPTION 'auto_sync_over' USING ERRCODE = 'SB033', DETAIL = json_build_object('auto_sync_id', v_sync_id);
  END IF;
  UPDATE auto_sync_participants p
  SET answer = p_answer,
      time_ids = p_times,
      answered_at = p_now,
      updated_at = p_now
  WHERE p.id = v_participant.id
    AND (p.answer IS DISTINCT FROM p_answer OR NOT (p.time_ids <@ p_times AND p.time_ids @> p_times));
  RETURN get_auto_sync(v_sync_id);
END
$$""",
    ),
    Change(
        "functions/remove_crew_member",
        r"""-- Promises: the member is no more in the crew, and nobody waits for their answer; removing twice is once. Whoever goes may
-- be who was waited for last: then an auto-sync completes. Called by DELETE /v1/crews/{id}/members/{id}.
-- Locks: crew, member, the crew's live auto-syncs, then what completing them locks.
-- Raises: SB030 crew_not_found, SB031 crew_member_not_found.
CREATE OR REPLACE FUNCTION remove_crew_member(
  p_actor jsonb, p_crew_id uuid, p_member_id uuid, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_member crew_members;
  -- everybody may go by themselves
  v_goes_alone boolean := EXISTS (
    SELECT FROM crew_members m
    JOIN customers c ON c.id = m.customer_id
    WHERE m.id = p_member_id AND m.crew_id = p_crew_id AND c.ref = p_actor ->> 'customer_ref'
  );
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM lock_crew(CASE WHEN v_goes_alone THEN p_actor - 'customer_ref' ELSE p_actor END, p_crew_id);
  UPDATE crew_members m SET left_at = p_now WHERE m.id = p_member_id AND m.crew_id = p_crew_id AND m.left_at IS NULL;
  SELECT * INTO v_member FROM crew_members m WHERE m.id = p_member_id AND m.crew_id = p_crew_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crew_member_not_found' USING ERRCODE = 'SB031',
      DETAIL = json_build_object('crew_id', p_crew_id, 'member_id', p_member_id);
  END IF;
  RETURN crew_member_json(v_member);
END
$$""",
        r"""-- Promises: the member is no more in the crew, and nobody waits for their answer; removing twice is once. Whoever goes may
-- be who was waited for last: then an auto-sync completes. Called by DELETE /v1/crews/{id}/members/{id}.
-- Locks: crew, member, the crew's live auto-syncs, then what completing them locks.
-- Raises: SB030 crew_not_found, SB031 crew_member_not_found.
CREATE OR REPLACE FUNCTION remove_crew_member(
  p_actor jsonb, p_crew_id uuid, p_member_id uuid, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_member crew_members;
  v_goes_alone boolean;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- everybody may go by themselves
  SELECT m.* INTO v_member
  FROM crew_members m
  JOIN customers c ON c.id = m.customer_id
  WHERE m.id = p_member_id AND m.crew_id = p_crew_id AND c.ref = p_actor ->> 'customer_ref';
  v_goes_alone := FOUND;
  IF v_member.left_at IS NOT NULL THEN
    RETURN crew_member_json(v_member);
  END IF;

  PERFORM lock_crew(CASE WHEN v_goes_alone THEN p_actor - 'customer_ref' ELSE p_actor END, p_crew_id);
  UPDATE crew_members m SET left_at = p_now WHERE m.id = p_member_id AND m.crew_id = p_crew_id AND m.left_at IS NULL;
  SELECT * INTO v_member FROM crew_members m WHERE m.id = p_member_id AND m.crew_id = p_crew_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crew_member_not_found' USING ERRCODE = 'SB031',
      DETAIL = json_build_object('crew_id', p_crew_id, 'member_id', p_member_id);
  END IF;
  RETURN crew_member_json(v_member);
END
$$""",
    ),
    Change(
        "functions/waitlist_ahead",
        None,
        r"""-- Promises: how many wait in a slot's line before that place, whoever they are. Called by waitlist_entry_json.
CREATE OR REPLACE FUNCTION waitlist_ahead(p_slot_id uuid, p_place_in_line bigint)
RETURNS bigint
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT count(*)
  FROM waitlist_entries w
  WHERE w.slot_id = p_slot_id AND w.status = 'waiting' AND w.place_in_line < p_place_in_line
$$""",
    ),
    Change(
        "functions/waitlist_entry_json",
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
      'ahead', CASE p_entry.status WHEN 'waiting' THEN waitlist_ahead(p_entry.slot_id, p_entry.place_in_line) END,
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
]


# where the schema has roles, its policies ask functions that go; the roles that are left then see what they did before
DROP_POLICIES = """
DO $$
DECLARE
  v_policy record;
BEGIN
  FOR v_policy IN
    SELECT DISTINCT p.polname AS name, p.polrelid::regclass AS relation
    FROM pg_policy p
    JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass
    WHERE d.refobjid IN (to_regproc('acts_for_everybody'), to_regproc('acting_customer'), to_regproc('acting'))
  LOOP
    EXECUTE format('DROP POLICY %I ON %s', v_policy.name, v_policy.relation);
  END LOOP;
END
$$"""


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    op.execute(DROP_POLICIES)
    frozen.downgrade(CHANGES)
