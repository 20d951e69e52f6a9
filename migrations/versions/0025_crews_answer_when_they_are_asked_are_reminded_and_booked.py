"""crews answer when they are asked are reminded and booked.

Revision ID: 0025
Revises: 0024
"""

from alembic import op

from migrations import frozen
from migrations.frozen import Change

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/add_crew_member",
        None,
        r"""-- Promises: the customer is in the crew, and is asked by each of its auto-syncs that is not over; once, however often it is
-- said. A language and a zone that are given are the customer's from now on. Called by POST /v1/crews/{id}/members.
-- Locks: crew, customer (if it changes), member, then the crew's live auto-syncs. Raises: SB030 crew_not_found.
CREATE OR REPLACE FUNCTION add_crew_member(
  p_actor jsonb,
  p_crew_id uuid,
  p_customer jsonb,
  p_language text DEFAULT NULL,
  p_timezone text DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer_id uuid;
  v_member crew_members;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM lock_crew(p_actor, p_crew_id);
  v_customer_id := upsert_customer(p_customer, p_now);
  UPDATE customers c
  SET language = COALESCE(p_language, c.language), timezone = COALESCE(p_timezone, c.timezone), updated_at = p_now
  WHERE c.id = v_customer_id
    AND (c.language, c.timezone) IS DISTINCT FROM (COALESCE(p_language, c.language), COALESCE(p_timezone, c.timezone));

  INSERT INTO crew_members AS m (crew_id, customer_id, joined_at)
  VALUES (p_crew_id, v_customer_id, p_now)
  ON CONFLICT (crew_id, customer_id) DO UPDATE
    SET left_at = NULL, joined_at = EXCLUDED.joined_at
    WHERE m.left_at IS NOT NULL;
  SELECT * INTO v_member FROM crew_members m WHERE m.crew_id = p_crew_id AND m.customer_id = v_customer_id;
  RETURN crew_member_json(v_member);
END
$$""",
    ),
    Change(
        "functions/arm_auto_sync",
        None,
        r"""-- Promises: the job that a running auto-sync waits for is pending, once, and due when its times say.
-- Called by auto_syncs_sync_jobs and backfill_auto_sync_jobs. Locks: the auto-sync's job.
CREATE OR REPLACE FUNCTION arm_auto_sync(p_sync auto_syncs, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job_type text := auto_sync_job_type(p_sync);
  v_due_at timestamptz := COALESCE(p_sync.resumed_at, p_sync.started_at)
    + CASE v_job_type WHEN 'auto_sync_reminder' THEN p_sync.reminder_after ELSE p_sync.pause_after END;
BEGIN
  IF v_job_type IS NOT NULL THEN
    INSERT INTO jobs AS j (job_type, dedupe_key, scheduled_at, run_at, created_at, updated_at)
    VALUES (v_job_type, p_sync.id::text, v_due_at, v_due_at, p_now, p_now)
    ON CONFLICT (dedupe_key, job_type) WHERE status = 'pending' DO UPDATE
      SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at
      WHERE j.run_at <> EXCLUDED.run_at;
  END IF;
END
$$""",
    ),
    Change(
        "functions/audit_action",
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
        r"""-- Promises: the word for what happened to a row, from its state before and after: created, deleted, the status it
-- took, resumed, rescheduled, reminded, responded, or modified. Called by write_audit_log; the events of webhooks and streams use the same words.
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
    WHEN p_old ->> 'status' = 'paused' AND p_new ->> 'status' = 'running' THEN 'resumed'
    WHEN p_old ->> 'status' <> p_new ->> 'status' THEN p_new ->> 'status'
    WHEN p_old ->> 'slot_id' <> p_new ->> 'slot_id' THEN 'rescheduled'
    WHEN p_old ->> 'reminded_at' IS DISTINCT FROM p_new ->> 'reminded_at' THEN 'reminded'
    WHEN p_old ->> 'responses' <> p_new ->> 'responses' THEN 'responded'
    ELSE 'modified'
  END;
END
$$""",
    ),
    Change(
        "functions/auto_sync_facts",
        None,
        r"""-- Promises: what a message to a customer says of an auto-sync, and what the page behind their link shows: what is proposed by
-- whom, what they answered, and what came of it. `participant_id` is null where the customer is not asked.
-- Called by message_body and get_invitation.
CREATE OR REPLACE FUNCTION auto_sync_facts(p_sync auto_syncs, p_customer_id uuid)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_participant auto_sync_participants;
BEGIN
  SELECT * INTO v_participant
  FROM auto_sync_participants p
  WHERE p.auto_sync_id = p_sync.id AND p.customer_id = p_customer_id AND p.removed_at IS NULL;
  RETURN jsonb_build_object(
    'id', p_sync.id,
    'event_name', p_sync.event_name,
    'crew_name', (SELECT w.name FROM crews w WHERE w.id = p_sync.crew_id),
    'organizer_name', (SELECT c.name FROM customers c WHERE c.id = p_sync.organizer_id),
    'status', p_sync.status,
    'participant_id', v_participant.id,
    'answer', v_participant.answer,
    'answered_times', v_participant.time_ids,
    'times', COALESCE(
      (
        SELECT jsonb_agg(
          jsonb_build_object('id', t.id, 'starts_at', t.starts_at, 'ends_at', t.ends_at) ORDER BY t.position
        )
        FROM auto_sync_times t
        WHERE t.auto_sync_id = p_sync.id
      ),
      '[]'
    ),
    'winning_time_id', p_sync.winning_time_id,
    'is_booked', p_sync.booking_id IS NOT NULL,
    'booking_error', p_sync.booking_error,
    'reference', (SELECT b.reference FROM bookings b WHERE b.id = p_sync.booking_id)
  );
END
$$""",
    ),
    Change(
        "functions/auto_sync_goal_is_met",
        None,
        r"""-- Promises: whether as many have answered as the goal says, of those who are asked still: all, a number of them (all, where
-- there are fewer), a share, or all who are named. Any answer counts, and without one no goal is met.
-- Called by auto_sync_participants_count and set_auto_sync_status, which hold the auto-sync's row.
CREATE OR REPLACE FUNCTION auto_sync_goal_is_met(p_sync auto_syncs)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT count(p.answer) > 0 AND CASE p_sync.response_goal
      WHEN 'everyone' THEN count(p.answer) = count(*)
      WHEN 'number' THEN count(p.answer) >= LEAST(p_sync.goal_number, count(*))
      WHEN 'share' THEN count(p.answer) >= p_sync.goal_share * count(*)
      ELSE NOT COALESCE(bool_or(p.is_named AND p.answer IS NULL), false)
    END
    FROM auto_sync_participants p
    WHERE p.auto_sync_id = p_sync.id AND p.removed_at IS NULL
  );
END
$$""",
    ),
    Change(
        "functions/auto_sync_job_type",
        None,
        r"""-- Promises: the type of the one job that an auto-sync waits for, or null where it waits for none.
-- Called by auto_syncs_sync_jobs, arm_auto_sync, backfill_auto_sync_jobs and check_invariants.
CREATE OR REPLACE FUNCTION auto_sync_job_type(p_sync auto_syncs)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN (p_sync).status <> 'running' THEN NULL
  WHEN (p_sync).reminded_at IS NULL THEN 'auto_sync_reminder'
  ELSE 'auto_sync_pause_check'
END""",
    ),
    Change(
        "functions/auto_sync_json",
        None,
        r"""-- Promises: the one JSON shape of an auto-sync and of its events; durations are in seconds.
-- Called by get_auto_sync, list_auto_syncs and event_json.
CREATE OR REPLACE FUNCTION auto_sync_json(p_sync auto_syncs)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_sync.id,
    'crew_id', p_sync.crew_id,
    'organizer_ref', (SELECT c.ref FROM customers c WHERE c.id = p_sync.organizer_id),
    'event_name', p_sync.event_name,
    'status', p_sync.status,
    'response_goal', CASE p_sync.response_goal
      WHEN 'everyone' THEN to_jsonb('everyone'::text)
      WHEN 'number' THEN to_jsonb(p_sync.goal_number)
      WHEN 'share' THEN jsonb_build_object('share', p_sync.goal_share)
      ELSE jsonb_build_object('customer_refs', (
        SELECT COALESCE(jsonb_agg(c.ref ORDER BY c.ref), '[]')
        FROM auto_sync_participants p
        JOIN customers c ON c.id = p.customer_id
        WHERE p.auto_sync_id = p_sync.id AND p.is_named
      ))
    END,
    'timezone', p_sync.timezone,
    'reminder_after', extract(epoch FROM p_sync.reminder_after)::bigint,
    'pause_after', extract(epoch FROM p_sync.pause_after)::bigint,
    'resource_id', p_sync.resource_id,
    'units', p_sync.units,
    'times', COALESCE(
      (
        SELECT json_agg(
          json_build_object('id', t.id, 'starts_at', t.starts_at, 'ends_at', t.ends_at, 'slot_id', t.slot_id)
          ORDER BY t.position
        )
        FROM auto_sync_times t
        WHERE t.auto_sync_id = p_sync.id
      ),
      '[]'
    ),
    'answered', p_sync.answered,
    'started_at', p_sync.started_at,
    'reminded_at', p_sync.reminded_at,
    'paused_at', p_sync.paused_at,
    'pause_reason', p_sync.pause_reason,
    'resumed_at', p_sync.resumed_at,
    'completed_at', p_sync.completed_at,
    'winning_time_id', p_sync.winning_time_id,
    'booking_id', p_sync.booking_id,
    'booking_error', p_sync.booking_error,
    'version', p_sync.version,
    'created_at', p_sync.created_at,
    'updated_at', p_sync.updated_at
  );
END
$$""",
    ),
    Change(
        "functions/auto_sync_message_is_outdated",
        None,
        r"""-- Promises: whether a message of an auto-sync says what is true no more: the auto-sync has another status by now, or whoever
-- is asked has answered meanwhile or is asked no more. Called by message_reason.
-- Locks: auto-sync (shared), so that it waits for an answer under way, and an answer waits for it.
CREATE OR REPLACE FUNCTION auto_sync_message_is_outdated(p_message messages)
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_status text;
BEGIN
  SELECT a.status INTO v_status FROM auto_syncs a WHERE a.id = p_message.subject_id FOR SHARE;
  RETURN v_status <> p_message.told_status OR v_status = 'running' AND NOT EXISTS (
    SELECT FROM auto_sync_participants p
    WHERE p.auto_sync_id = p_message.subject_id AND p.customer_id = p_message.customer_id AND p.answer IS NULL
      AND p.removed_at IS NULL
  );
END
$$""",
    ),
    Change(
        "functions/auto_sync_participants_count",
        None,
        r"""-- Promises: an auto-sync knows how many have answered, and completes with the answer that meets its goal, once, however many
-- come at once; after its end nobody answers. Called by trigger auto_sync_participants_count, whoever writes.
-- Locks: auto-syncs by id, then what completing one locks. Raises: SB033 auto_sync_over, SB034 invalid_times.
CREATE OR REPLACE FUNCTION auto_sync_participants_count()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync auto_syncs;
  v_changed record;
BEGIN
  FOR v_changed IN
    SELECT
      n.auto_sync_id,
      count(*) FILTER (
        WHERE (n.answer, n.time_ids, n.answered_at) IS DISTINCT FROM (o.answer, o.time_ids, o.answered_at)
      ) AS responses,
      max(n.updated_at) AS at,
      bool_and(
        n.time_ids <@ t.ids AND (n.answer IS DISTINCT FROM 'accepted' OR n.time_ids <> '{}' OR t.ids = '{}')
      ) AS has_valid_times
    FROM changed_after n
    JOIN changed_before o ON o.id = n.id
    CROSS JOIN LATERAL (
      SELECT ARRAY(SELECT x.id FROM auto_sync_times x WHERE x.auto_sync_id = n.auto_sync_id) AS ids
    ) t
    WHERE (o.answer, o.time_ids, o.answered_at, o.removed_at)
      IS DISTINCT FROM (n.answer, n.time_ids, n.answered_at, n.removed_at)
    GROUP BY n.auto_sync_id
    ORDER BY n.auto_sync_id
  LOOP
    -- before the goal is looked at: of two last answers the second sees the first
    SELECT * INTO v_sync FROM auto_syncs a WHERE a.id = v_changed.auto_sync_id FOR NO KEY UPDATE;
    IF v_sync.status NOT IN ('running', 'paused') THEN
      RAISE EXCEPTION 'auto_sync_over' USING ERRCODE = 'SB033',
        DETAIL = json_build_object('auto_sync_id', v_sync.id, 'status', v_sync.status);
    END IF;
    IF NOT v_changed.has_valid_times THEN
      RAISE EXCEPTION 'invalid_times' USING ERRCODE = 'SB034',
        DETAIL = json_build_object('auto_sync_id', v_sync.id);
    END IF;

    UPDATE auto_syncs a
    SET responses = a.responses + v_changed.responses, updated_at = v_changed.at
    WHERE a.id = v_sync.id
    RETURNING * INTO v_sync;
    -- one that is paused does nothing by itself: its organizer resumes it
    IF v_sync.status = 'running' AND auto_sync_goal_is_met(v_sync) THEN
      PERFORM complete_auto_sync(v_sync, v_changed.at);
    END IF;
  END LOOP;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/auto_sync_participants_invite",
        None,
        r"""-- Promises: who is asked by a running auto-sync gets an invitation, once. Called by trigger auto_sync_participants_invite,
-- whoever writes.
CREATE OR REPLACE FUNCTION auto_sync_participants_invite()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF EXISTS (SELECT FROM auto_syncs a WHERE a.id = NEW.auto_sync_id AND a.status = 'running') THEN
    PERFORM make_messages(
      'auto_sync_invited', NEW.customer_id, 'auto_sync', NEW.auto_sync_id, 'auto_sync_invited/' || NEW.id, 'running',
      NULL, NEW.created_at
    );
  END IF;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/auto_syncs_ask",
        None,
        r"""-- Promises: a new auto-sync asks everybody who is in its crew. Called by trigger auto_syncs_ask, whoever writes.
-- Locks: crew, so that nobody joins unseen meanwhile, then the new participants.
CREATE OR REPLACE FUNCTION auto_syncs_ask()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM FROM crews w WHERE w.id = NEW.crew_id FOR NO KEY UPDATE;
  INSERT INTO auto_sync_participants (auto_sync_id, customer_id, created_at, updated_at)
  SELECT NEW.id, m.customer_id, NEW.created_at, NEW.updated_at
  FROM crew_members m
  WHERE m.crew_id = NEW.crew_id AND m.left_at IS NULL;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/auto_syncs_guard_update",
        None,
        r"""-- Promises: an auto-sync's status takes only these steps, whoever writes; when it took them, and how many have answered,
-- stand in the row, and each change grows its version. Called by trigger auto_syncs_guard_update. Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION auto_syncs_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- who writes around the functions says no time
  v_at timestamptz := CASE WHEN NEW.updated_at = OLD.updated_at THEN now() ELSE NEW.updated_at END;
BEGIN
  IF OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
    ('running', 'paused'), ('running', 'completed'), ('running', 'cancelled'), ('paused', 'running'),
    ('paused', 'cancelled')
  ) THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object('auto_sync_id', OLD.id, 'from', OLD.status, 'to', NEW.status);
  END IF;

  NEW.version := OLD.version + 1;
  NEW.answered := (
    SELECT count(*)
    FROM auto_sync_participants p
    WHERE p.auto_sync_id = NEW.id AND p.removed_at IS NULL AND p.answer IS NOT NULL
  );
  IF OLD.status <> NEW.status THEN
    NEW.paused_at := CASE NEW.status WHEN 'paused' THEN COALESCE(NEW.paused_at, v_at) END;
    NEW.pause_reason := CASE NEW.status WHEN 'paused' THEN COALESCE(NEW.pause_reason, 'by_hand') END;
    NEW.resumed_at := CASE NEW.status
      WHEN 'running' THEN COALESCE(NEW.resumed_at, v_at)
      WHEN 'paused' THEN NULL
      ELSE NEW.resumed_at
    END;
    NEW.completed_at := CASE NEW.status WHEN 'completed' THEN COALESCE(NEW.completed_at, v_at) END;
    NEW.updated_at := v_at;
  END IF;
  RETURN NEW;
END
$$""",
    ),
    Change(
        "functions/auto_syncs_sync_jobs",
        None,
        r"""-- Promises: a running auto-sync has one pending job: its reminder, and once that has gone out its pause check, each due
-- from the start or the last resuming on; any other has none. Called by triggers auto_syncs_sync_jobs_on_insert and
-- _on_update, whoever writes. Locks: the auto-sync's jobs.
CREATE OR REPLACE FUNCTION auto_syncs_sync_jobs()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_wanted text := auto_sync_job_type(NEW);
BEGIN
  IF TG_OP = 'UPDATE' THEN
    UPDATE jobs j
    SET
      -- done, where it got the auto-sync where it is; else needed no more, or not wanted
      status = CASE
        WHEN j.job_type = 'auto_sync_reminder' AND OLD.reminded_at IS NULL AND NEW.reminded_at IS NOT NULL THEN 'processed'
        WHEN j.job_type = 'auto_sync_pause_check' AND NEW.pause_reason = 'goal_not_met' THEN 'processed'
        WHEN NEW.status = 'completed' THEN 'skipped'
        ELSE 'cancelled'
      END,
      processed_at = NEW.updated_at,
      updated_at = NEW.updated_at
    WHERE j.dedupe_key = NEW.id::text AND j.job_type IN ('auto_sync_reminder', 'auto_sync_pause_check')
      AND j.status = 'pending' AND j.job_type IS DISTINCT FROM v_wanted;
  END IF;
  PERFORM arm_auto_sync(NEW, NEW.updated_at);
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/backfill_auto_sync_jobs",
        None,
        r"""-- Promises: every running auto-sync has its job, whatever took it away, such as taking the feature back for a while. Answers
-- how many got one, at most p_limit. Called by backfill_jobs. Locks: auto-syncs, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION backfill_auto_sync_jobs(p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_syncs auto_syncs[];
BEGIN
  v_syncs := ARRAY(
    SELECT a
    FROM auto_syncs a
    WHERE a.status = 'running' AND NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = a.id::text AND j.status = 'pending' AND j.job_type = auto_sync_job_type(a)
    )
    LIMIT p_limit
    FOR NO KEY UPDATE OF a SKIP LOCKED
  );
  PERFORM arm_auto_sync(a, p_now) FROM unnest(v_syncs) a;
  RETURN cardinality(v_syncs);
END
$$""",
    ),
    Change(
        "functions/backfill_jobs",
        r"""-- Promises: every confirmed booking and every hold has its job, whatever took it away: those that have none get one.
-- Answers how many did, at most p_limit; none where all were looked at less than p_every ago. Called by the job processor,
-- and by whoever repaired something. Locks: bookings, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION backfill_jobs(
  p_limit integer, p_every interval DEFAULT '0', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_backfilled integer;
BEGIN
  IF EXISTS (SELECT FROM job_runs r WHERE r.instance_id = 'backfill' AND r.seen_at > p_now - p_every) THEN
    RETURN 0;
  END IF;

  INSERT INTO jobs (job_type, dedupe_key, booking_id, scheduled_at, run_at, created_at, updated_at)
  SELECT o.job_type, o.id::text, o.id, o.due_at, o.due_at, p_now, p_now
  FROM (
    SELECT
      b.id,
      CASE b.status WHEN 'confirmed' THEN 'complete_booking' ELSE 'expire_booking' END AS job_type,
      CASE b.status WHEN 'confirmed' THEN b.ends_at ELSE b.expires_at END AS due_at
    FROM bookings b
    WHERE b.status IN ('pending', 'confirmed') AND NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = b.id::text AND j.status = 'pending'
        AND j.job_type = CASE b.status WHEN 'confirmed' THEN 'complete_booking' ELSE 'expire_booking' END
    )
    LIMIT p_limit
    FOR NO KEY UPDATE OF b SKIP LOCKED
  ) o
  ON CONFLICT (dedupe_key, job_type) WHERE status = 'pending' DO NOTHING;
  GET DIAGNOSTICS v_backfilled = ROW_COUNT;
  IF v_backfilled < p_limit THEN
    PERFORM record_job_run('backfill', 'backfill', json_build_object('processed', v_backfilled)::jsonb, true, p_now);
  END IF;
  RETURN v_backfilled;
END
$$""",
        r"""-- Promises: every confirmed booking, every hold and every running auto-sync has its job, whatever took it away: a new one.
-- Answers how many did, at most p_limit; none where all were looked at less than p_every ago. Called by the job processor,
-- and by whoever repaired something. Locks: bookings and auto-syncs, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION backfill_jobs(
  p_limit integer, p_every interval DEFAULT '0', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_backfilled integer;
BEGIN
  IF EXISTS (SELECT FROM job_runs r WHERE r.instance_id = 'backfill' AND r.seen_at > p_now - p_every) THEN
    RETURN 0;
  END IF;

  INSERT INTO jobs (job_type, dedupe_key, booking_id, scheduled_at, run_at, created_at, updated_at)
  SELECT o.job_type, o.id::text, o.id, o.due_at, o.due_at, p_now, p_now
  FROM (
    SELECT
      b.id,
      CASE b.status WHEN 'confirmed' THEN 'complete_booking' ELSE 'expire_booking' END AS job_type,
      CASE b.status WHEN 'confirmed' THEN b.ends_at ELSE b.expires_at END AS due_at
    FROM bookings b
    WHERE b.status IN ('pending', 'confirmed') AND NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = b.id::text AND j.status = 'pending'
        AND j.job_type = CASE b.status WHEN 'confirmed' THEN 'complete_booking' ELSE 'expire_booking' END
    )
    LIMIT p_limit
    FOR NO KEY UPDATE OF b SKIP LOCKED
  ) o
  ON CONFLICT (dedupe_key, job_type) WHERE status = 'pending' DO NOTHING;
  GET DIAGNOSTICS v_backfilled = ROW_COUNT;
  v_backfilled := v_backfilled + backfill_auto_sync_jobs(p_limit - v_backfilled, p_now);
  IF v_backfilled < p_limit THEN
    PERFORM record_job_run('backfill', 'backfill', json_build_object('processed', v_backfilled)::jsonb, true, p_now);
  END IF;
  RETURN v_backfilled;
END
$$""",
    ),
    Change(
        "functions/begin_message",
        r"""-- Promises: that this message is about to be sent is on record before it is, by who holds its job and nobody else, if it
-- still tells the truth; and here is what sending it takes. Without a body it is skipped for a reason, or waits for the end
-- of quiet hours. Called by the handler of send_message. Locks: booking (shared), message, job (shared).
-- Raises: SB020 lease_lost.
CREATE OR REPLACE FUNCTION begin_message(
  p_message_id uuid,
  p_job_id uuid,
  p_lease_token bigint,
  p_quiet_from time DEFAULT NULL,
  p_quiet_to time DEFAULT NULL,
  p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS TABLE (skip_reason text, wait_until timestamptz, is_unclear boolean, sending_at timestamptz, body jsonb)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_message messages := (SELECT m FROM messages m WHERE m.id = p_message_id);
BEGIN
  skip_reason := message_reason(v_message, p_now);
  SELECT * INTO v_message FROM messages m WHERE m.id = p_message_id FOR NO KEY UPDATE;
  PERFORM FROM jobs j
  WHERE j.id = p_job_id AND j.lease_token = p_lease_token AND j.status = 'processing'
  FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'lease_lost' USING ERRCODE = 'SB020',
      DETAIL = json_build_object('job_id', p_job_id, 'lease_token', p_lease_token);
  END IF;

  is_unclear := v_message.status = 'sending';
  sending_at := v_message.sending_at;
  body := message_body(v_message);
  IF v_message.channel = 'sms' OR v_message.template = 'booking_reminder' THEN
    wait_until := quiet_until(body -> 'customer' ->> 'timezone', p_quiet_from, p_quiet_to, p_now);
  END IF;
  IF v_message.status IN ('sent', 'skipped') THEN
    skip_reason := COALESCE(v_message.reason, 'sent');
  -- of one that may have left, the handler asks first what became of it
  ELSIF skip_reason IS NOT NULL AND NOT is_unclear THEN
    UPDATE messages m SET status = 'skipped', reason = skip_reason, updated_at = p_now WHERE m.id = p_message_id;
  ELSIF skip_reason IS NULL AND wait_until IS NULL THEN
    UPDATE messages m
    SET status = 'sending', reason = NULL, detail = NULL, sending_at = COALESCE(m.sending_at, p_now), updated_at = p_now
    WHERE m.id = p_message_id;
  END IF;
  RETURN NEXT;
END
$$""",
        r"""-- Promises: that this message is about to be sent is on record before it is, by who holds its job and nobody else, if it
-- still tells the truth; and here is what sending it takes. Without a body it is skipped for a reason, or waits for the end
-- of quiet hours. Called by the handler of send_message.
-- Locks: auto-sync or booking (shared), message, job (shared).
-- Raises: SB020 lease_lost.
CREATE OR REPLACE FUNCTION begin_message(
  p_message_id uuid,
  p_job_id uuid,
  p_lease_token bigint,
  p_quiet_from time DEFAULT NULL,
  p_quiet_to time DEFAULT NULL,
  p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS TABLE (skip_reason text, wait_until timestamptz, is_unclear boolean, sending_at timestamptz, body jsonb)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_message messages := (SELECT m FROM messages m WHERE m.id = p_message_id);
BEGIN
  skip_reason := message_reason(v_message, p_now);
  SELECT * INTO v_message FROM messages m WHERE m.id = p_message_id FOR NO KEY UPDATE;
  PERFORM FROM jobs j
  WHERE j.id = p_job_id AND j.lease_token = p_lease_token AND j.status = 'processing'
  FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'lease_lost' USING ERRCODE = 'SB020',
      DETAIL = json_build_object('job_id', p_job_id, 'lease_token', p_lease_token);
  END IF;

  is_unclear := v_message.status = 'sending';
  sending_at := v_message.sending_at;
  body := message_body(v_message);
  IF v_message.channel = 'sms' OR v_message.template IN ('booking_reminder', 'auto_sync_reminder') THEN
    wait_until := quiet_until(body -> 'customer' ->> 'timezone', p_quiet_from, p_quiet_to, p_now);
  END IF;
  IF v_message.status IN ('sent', 'skipped') THEN
    skip_reason := COALESCE(v_message.reason, 'sent');
  -- of one that may have left, the handler asks first what became of it
  ELSIF skip_reason IS NOT NULL AND NOT is_unclear THEN
    UPDATE messages m SET status = 'skipped', reason = skip_reason, updated_at = p_now WHERE m.id = p_message_id;
  ELSIF skip_reason IS NULL AND wait_until IS NULL THEN
    UPDATE messages m
    SET status = 'sending', reason = NULL, detail = NULL, sending_at = COALESCE(m.sending_at, p_now), updated_at = p_now
    WHERE m.id = p_message_id;
  END IF;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/book_auto_sync_time",
        None,
        r"""-- Promises: the organizer has a booking in the slot, or why not, as a code; then nothing was done. Called by
-- complete_auto_sync. Who acted still acts afterwards. Locks: what create_booking_safe locks.
CREATE OR REPLACE FUNCTION book_auto_sync_time(
  p_sync auto_syncs, p_slot_id uuid, p_now timestamptz DEFAULT now(), OUT booking_id uuid, OUT refusal text
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_actor text := current_setting('holdfast.actor', true);
  v_ref text := (SELECT c.ref FROM customers c WHERE c.id = p_sync.organizer_id);
BEGIN
  IF v_ref IS NULL THEN
    refusal := 'organizer_without_ref';
    RETURN;
  END IF;

  BEGIN
    -- not whoever answered last: a customer books for that customer alone
    SELECT b.booking_id INTO booking_id
    FROM create_booking_safe(
      jsonb_build_object('type', 'system', 'id', 'auto_sync'),
      p_slot_id,
      jsonb_build_object('ref', v_ref),
      p_sync.units,
      p_metadata => jsonb_build_object('auto_sync_id', p_sync.id),
      p_now => p_now
    ) b;
  EXCEPTION
    -- the whole class: whatever the rules of booking refuse
    WHEN SQLSTATE 'SB000' THEN
      refusal := SQLERRM;
  END;
  PERFORM set_config('holdfast.actor', COALESCE(v_actor, ''), true);
END
$$""",
    ),
    Change(
        "functions/check_invariants",
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
    WHERE j.status = 'pending' AND j.booking_id IS NOT NULL AND j.job_type IN ('complete_booking', 'expire_booking')
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
    WHERE j.status = 'pending' AND j.booking_id IS NOT NULL AND j.job_type IN ('complete_booking', 'expire_booking')
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
    SELECT 'auto_sync_job', a.id, json_build_object('status', a.status, 'job_types', q.job_types)
    FROM auto_syncs a
    CROSS JOIN LATERAL (
      SELECT COALESCE(array_agg(j.job_type ORDER BY j.job_type), '{}') AS job_types
      FROM jobs j
      WHERE j.dedupe_key = a.id::text AND j.status = 'pending' AND j.job_type IN ('auto_sync_reminder', 'auto_sync_pause_check')
    ) q
    WHERE q.job_types <> array_remove(ARRAY[auto_sync_job_type(a)], NULL)
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
        "functions/complete_auto_sync",
        None,
        r"""-- Promises: a running auto-sync, whose row the caller holds, is completed: the winner is the time that suits most, of equals
-- the one proposed earlier. At a resource it is booked, or the next that can be, or the first refusal stands on record.
-- Everybody is told. Called by auto_sync_participants_count and set_auto_sync_status.
-- Locks: what create_booking_safe locks, then the auto-sync's jobs.
CREATE OR REPLACE FUNCTION complete_auto_sync(p_sync auto_syncs, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_time auto_sync_times;
  v_winner_id uuid;
  v_booking_id uuid;
  v_refusal text;
  v_error text;
BEGIN
  FOR v_time IN
    SELECT t.*
    FROM auto_sync_times t
    JOIN auto_sync_participants p ON p.auto_sync_id = t.auto_sync_id AND t.id = ANY (p.time_ids)
    WHERE t.auto_sync_id = p_sync.id AND p.removed_at IS NULL
    GROUP BY t.id
    ORDER BY count(*) DESC, t.position
  LOOP
    v_winner_id := COALESCE(v_winner_id, v_time.id);
    EXIT WHEN p_sync.resource_id IS NULL;
    SELECT b.booking_id, b.refusal INTO v_booking_id, v_refusal
    FROM book_auto_sync_time(p_sync, v_time.slot_id, p_now) b;
    IF v_booking_id IS NOT NULL THEN
      v_winner_id := v_time.id;
      EXIT;
    END IF;
    v_error := COALESCE(v_error, v_refusal);
  END LOOP;

  UPDATE auto_syncs a
  SET status = 'completed',
      completed_at = p_now,
      winning_time_id = v_winner_id,
      booking_id = v_booking_id,
      booking_error = CASE WHEN v_booking_id IS NULL THEN v_error END,
      updated_at = p_now
  WHERE a.id = p_sync.id;
  PERFORM make_messages(
    'auto_sync_completed', c.id, 'auto_sync', p_sync.id, concat_ws('/', 'auto_sync_completed', p_sync.id, c.id), 'completed',
    NULL, p_now
  )
  FROM (
    SELECT p.customer_id AS id FROM auto_sync_participants p WHERE p.auto_sync_id = p_sync.id AND p.removed_at IS NULL
    UNION SELECT p_sync.organizer_id WHERE p_sync.organizer_id IS NOT NULL
  ) c;
END
$$""",
    ),
    Change(
        "functions/create_auto_sync",
        None,
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
    ),
    Change(
        "functions/create_crew",
        None,
        r"""-- Promises: a crew without members, and who organizes it. Called by POST /v1/crews.
-- Locks: customer (if it changes), then the new crew.
CREATE OR REPLACE FUNCTION create_crew(
  p_actor jsonb,
  p_name text,
  p_organizer jsonb DEFAULT NULL,
  p_metadata jsonb DEFAULT '{}',
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_crew crews;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO crews (name, organizer_id, metadata, created_at, updated_at)
  VALUES (
    p_name, CASE WHEN p_organizer IS NOT NULL THEN upsert_customer(p_organizer, p_now) END, p_metadata, p_now, p_now
  )
  RETURNING * INTO v_crew;
  RETURN crew_json(v_crew);
END
$$""",
    ),
    Change(
        "functions/crew_json",
        None,
        r"""-- Promises: the one JSON shape of a crew. Called by create_crew, get_crew and list_crews.
CREATE OR REPLACE FUNCTION crew_json(p_crew crews)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_crew.id,
    'name', p_crew.name,
    'organizer_ref', (SELECT c.ref FROM customers c WHERE c.id = p_crew.organizer_id),
    'members', (SELECT count(*) FROM crew_members m WHERE m.crew_id = p_crew.id AND m.left_at IS NULL),
    'metadata', p_crew.metadata,
    'created_at', p_crew.created_at,
    'updated_at', p_crew.updated_at
  );
END
$$""",
    ),
    Change(
        "functions/crew_member_json",
        None,
        r"""-- Promises: the one JSON shape of a member, without email and phone: other members read it.
-- Called by add_crew_member, remove_crew_member and list_crew_members.
CREATE OR REPLACE FUNCTION crew_member_json(p_member crew_members)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT json_build_object(
      'id', p_member.id, 'crew_id', p_member.crew_id, 'customer_ref', c.ref, 'name', c.name,
      'joined_at', p_member.joined_at, 'left_at', p_member.left_at
    )
    FROM customers c
    WHERE c.id = p_member.customer_id
  );
END
$$""",
    ),
    Change(
        "functions/crew_members_follow",
        None,
        r"""-- Promises: who joins a crew is asked by each of its auto-syncs that is not over, and nobody waits for who leaves.
-- Called by triggers crew_members_follow_on_insert and _on_update, whoever writes.
-- Locks: crew, its live auto-syncs by id, then what an answer locks.
CREATE OR REPLACE FUNCTION crew_members_follow()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_at timestamptz := COALESCE(NEW.left_at, NEW.joined_at);
  v_live uuid[];
BEGIN
  -- an auto-sync that is being started asks whom it finds, and then comes here
  PERFORM FROM crews w WHERE w.id = NEW.crew_id FOR NO KEY UPDATE;
  v_live := ARRAY(
    SELECT a.id
    FROM auto_syncs a
    WHERE a.crew_id = NEW.crew_id AND a.status IN ('running', 'paused')
    ORDER BY a.id
    FOR NO KEY UPDATE
  );
  IF NEW.left_at IS NULL THEN
    INSERT INTO auto_sync_participants AS p (auto_sync_id, customer_id, created_at, updated_at)
    SELECT l.id, NEW.customer_id, v_at, v_at FROM unnest(v_live) l (id) ORDER BY l.id
    ON CONFLICT (auto_sync_id, customer_id) DO UPDATE SET removed_at = NULL, updated_at = v_at;
  ELSE
    UPDATE auto_sync_participants p
    SET removed_at = v_at, updated_at = v_at
    WHERE p.auto_sync_id = ANY (v_live) AND p.customer_id = NEW.customer_id AND p.removed_at IS NULL;
  END IF;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/crews_of",
        None,
        r"""-- Promises: the crews that a customer belongs to: as their organizer, or as a member who has not left.
-- Called by whatever shows crews and auto-syncs to a customer.
CREATE OR REPLACE FUNCTION crews_of(p_customer_ref text)
RETURNS SETOF uuid
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT w.id FROM crews w JOIN customers c ON c.id = w.organizer_id WHERE c.ref = p_customer_ref
  UNION
  SELECT m.crew_id
  FROM crew_members m
  JOIN customers c ON c.id = m.customer_id
  WHERE c.ref = p_customer_ref AND m.left_at IS NULL
$$""",
    ),
    Change(
        "functions/due_jobs",
        r"""-- Promises: how many jobs are due, and for how long the oldest has waited, in milliseconds.
-- Called by the job processor, /readyz/jobs and `holdfast doctor`. Each half has an index that skips what lies ahead.
CREATE OR REPLACE FUNCTION due_jobs(p_now timestamptz DEFAULT now())
RETURNS TABLE (remaining_due bigint, oldest_due_age_ms bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT count(*), COALESCE((extract(epoch FROM p_now - min(d.run_at)) * 1000)::bigint, 0)
  FROM (
    SELECT j.run_at
    FROM jobs j
    WHERE j.job_type IN ('complete_booking', 'expire_booking', 'refresh_schedule', 'remind_booking')
      AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
    UNION ALL
    SELECT j.run_at
    FROM pending_queues() q (name)
    JOIN jobs j ON j.queue = q.name AND j.priority IN (0, 1, 2, 3) AND j.status = 'pending' AND j.run_at <= p_now
  ) d
$$""",
        r"""-- Promises: how many jobs are due, and for how long the oldest has waited, in milliseconds.
-- Called by the job processor, /readyz/jobs and `holdfast doctor`. Each half has an index that skips what lies ahead.
CREATE OR REPLACE FUNCTION due_jobs(p_now timestamptz DEFAULT now())
RETURNS TABLE (remaining_due bigint, oldest_due_age_ms bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT count(*), COALESCE((extract(epoch FROM p_now - min(d.run_at)) * 1000)::bigint, 0)
  FROM (
    SELECT j.run_at
    FROM jobs j
    WHERE j.job_type IN (
        'complete_booking', 'expire_booking', 'refresh_schedule', 'remind_booking', 'auto_sync_reminder',
        'auto_sync_pause_check'
      )
      AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
    UNION ALL
    SELECT j.run_at
    FROM pending_queues() q (name)
    JOIN jobs j ON j.queue = q.name AND j.priority IN (0, 1, 2, 3) AND j.status = 'pending' AND j.run_at <= p_now
  ) d
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
      WHEN p_entry.subject_type IN ('booking', 'prebooking', 'auto_sync') THEN (p_entry.new_values ->> 'version')::bigint
      ELSE p_entry.id
    END,
    'subject', json_build_object('type', split_part(v_type, '.', 1), 'id', p_entry.subject_id),
    'data', CASE p_entry.subject_type
      WHEN 'booking' THEN booking_json(jsonb_populate_record(NULL::bookings, p_entry.new_values), p_customer_ref)
      WHEN 'prebooking' THEN prebooking_json(
        jsonb_populate_record(NULL::prebookings, p_entry.new_values), (p_entry.new_values ->> 'updated_at')::timestamptz
      )
      WHEN 'auto_sync' THEN auto_sync_json(jsonb_populate_record(NULL::auto_syncs, p_entry.new_values))
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
  WHEN 'prebooking' THEN p_event
  WHEN 'schedule' THEN 'schedule.changed'
  WHEN 'schedule_exception' THEN 'schedule.changed'
  ELSE CASE
    WHEN p_event IN ('slot.full', 'credentials.invalid', 'webhook_endpoint.disabled', 'webhook_endpoint.tested')
      THEN p_event
  END
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
  WHEN 'auto_sync' THEN p_event
  WHEN 'schedule' THEN 'schedule.changed'
  WHEN 'schedule_exception' THEN 'schedule.changed'
  ELSE CASE
    WHEN p_event IN ('slot.full', 'credentials.invalid', 'webhook_endpoint.disabled', 'webhook_endpoint.tested')
      THEN p_event
  END
END""",
    ),
    Change(
        "functions/get_auto_sync",
        None,
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
    ),
    Change(
        "functions/get_crew",
        None,
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
    ),
    Change(
        "functions/get_invitation",
        None,
        r"""-- Promises: what the page behind a participant's link shows, with the language and the zone to show it in.
-- Called by GET and POST /respond/{token}, which have checked the link.
-- Raises: SB032 auto_sync_not_found (nobody is asked so, or not any more), SB033 auto_sync_over.
CREATE OR REPLACE FUNCTION get_invitation(p_participant_id uuid)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_participant auto_sync_participants;
  v_sync auto_syncs;
BEGIN
  SELECT * INTO v_participant FROM auto_sync_participants p WHERE p.id = p_participant_id AND p.removed_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'auto_sync_not_found' USING ERRCODE = 'SB032',
      DETAIL = json_build_object('participant_id', p_participant_id);
  END IF;
  SELECT * INTO v_sync FROM auto_syncs a WHERE a.id = v_participant.auto_sync_id;
  IF v_sync.status NOT IN ('running', 'paused') THEN
    RAISE EXCEPTION 'auto_sync_over' USING ERRCODE = 'SB033',
      DETAIL = json_build_object('auto_sync_id', v_sync.id, 'status', v_sync.status);
  END IF;
  RETURN (
    SELECT auto_sync_facts(v_sync, c.id)
      || jsonb_build_object('language', c.language, 'timezone', COALESCE(c.timezone, v_sync.timezone), 'name', c.name)
    FROM customers c
    WHERE c.id = v_participant.customer_id
  );
END
$$""",
    ),
    Change(
        "functions/is_organizer",
        None,
        r"""-- Promises: whether whoever acts may change a crew of this organizer: a customer, if it is theirs; anybody else may.
-- Called by lock_crew and lock_auto_sync.
CREATE OR REPLACE FUNCTION is_organizer(p_actor jsonb, p_organizer_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN p_actor ->> 'customer_ref' IS NULL OR EXISTS (
    SELECT FROM customers c WHERE c.id = p_organizer_id AND c.ref = p_actor ->> 'customer_ref'
  );
END
$$""",
    ),
    Change(
        "functions/list_auto_syncs",
        None,
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
    ),
    Change(
        "functions/list_crew_members",
        None,
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
    ),
    Change(
        "functions/list_crews",
        None,
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
    ),
    Change(
        "functions/lock_auto_sync",
        None,
        r"""-- Promises: the auto-sync's row, locked until the transaction ends; for a customer, if they organize it.
-- Called by set_auto_sync_status. Locks: auto-sync. Raises: SB032 auto_sync_not_found.
CREATE OR REPLACE FUNCTION lock_auto_sync(p_actor jsonb, p_auto_sync_id uuid)
RETURNS auto_syncs
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync auto_syncs;
BEGIN
  SELECT * INTO v_sync FROM auto_syncs a WHERE a.id = p_auto_sync_id FOR NO KEY UPDATE;
  IF NOT FOUND OR NOT is_organizer(p_actor, (SELECT w.organizer_id FROM crews w WHERE w.id = v_sync.crew_id)) THEN
    RAISE EXCEPTION 'auto_sync_not_found' USING ERRCODE = 'SB032',
      DETAIL = json_build_object('auto_sync_id', p_auto_sync_id);
  END IF;
  RETURN v_sync;
END
$$""",
    ),
    Change(
        "functions/lock_crew",
        None,
        r"""-- Promises: the crew's row, locked until the transaction ends, so that who joins and what is started come one after the
-- other; for a customer, if they organize it. Called by whatever changes a crew or starts an auto-sync.
-- Locks: crew. Raises: SB030 crew_not_found.
CREATE OR REPLACE FUNCTION lock_crew(p_actor jsonb, p_crew_id uuid)
RETURNS crews
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_crew crews;
BEGIN
  SELECT * INTO v_crew FROM crews w WHERE w.id = p_crew_id FOR NO KEY UPDATE;
  IF NOT FOUND OR NOT is_organizer(p_actor, v_crew.organizer_id) THEN
    RAISE EXCEPTION 'crew_not_found' USING ERRCODE = 'SB030', DETAIL = json_build_object('crew_id', p_crew_id);
  END IF;
  RETURN v_crew;
END
$$""",
    ),
    Change(
        "functions/lock_due_auto_syncs",
        None,
        r"""-- Promises: the auto-syncs that have a due job of this type, by due time, locked; those that others hold are passed by.
-- Called by remind_due_auto_syncs and pause_due_auto_syncs. Locks: auto-syncs, SKIP LOCKED.
CREATE OR REPLACE FUNCTION lock_due_auto_syncs(p_job_type text, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS uuid[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_locked uuid[];
BEGIN
  v_locked := ARRAY(
    SELECT a.id
    FROM jobs j
    JOIN auto_syncs a ON a.id = j.dedupe_key::uuid
    WHERE j.job_type = p_job_type AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
      AND a.status = 'running'
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF a SKIP LOCKED
  );
  -- what it waits for may have changed before it was locked
  RETURN ARRAY(
    SELECT l.id
    FROM unnest(v_locked) l (id)
    JOIN jobs j ON j.dedupe_key = l.id::text AND j.job_type = p_job_type
    WHERE j.status = 'pending' AND j.run_at <= p_now
  );
END
$$""",
    ),
    Change(
        "functions/message_body",
        r"""-- Promises: all that a message is made of, as it is now: the message, whom it is for and what it is about. It holds personal
-- data, and goes to nobody but the one who sends. Called by begin_message.
CREATE OR REPLACE FUNCTION message_body(p_message messages)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
  v_prebooking prebookings;
  v_resource resources;
BEGIN
  IF p_message.subject_type = 'booking' THEN
    SELECT * INTO v_booking FROM bookings b WHERE b.id = p_message.subject_id;
  ELSE
    SELECT * INTO v_prebooking FROM prebookings p WHERE p.id = p_message.subject_id;
  END IF;
  SELECT * INTO v_resource FROM resources r WHERE r.id = COALESCE(v_booking.resource_id, v_prebooking.resource_id);
  RETURN jsonb_build_object(
    'channel', p_message.channel,
    'template', p_message.template,
    'customer', (
      SELECT jsonb_build_object(
        'name', c.name, 'email', c.email, 'phone', c.phone, 'language', c.language,
        'timezone', COALESCE(
          c.timezone, v_resource.timezone, (SELECT p.timezone FROM providers p WHERE p.name = v_prebooking.provider)
        )
      )
      FROM customers c
      WHERE c.id = p_message.customer_id
    ),
    'resource', CASE
      WHEN v_resource.id IS NOT NULL THEN jsonb_build_object('name', v_resource.name, 'timezone', v_resource.timezone)
    END,
    'booking', CASE WHEN v_booking.id IS NOT NULL THEN to_jsonb(v_booking) - 'metadata' END,
    'prebooking', CASE
      WHEN v_prebooking.id IS NOT NULL THEN jsonb_build_object(
        'provider', v_prebooking.provider,
        'target', v_prebooking.targets -> COALESCE(v_prebooking.booked_choice - 1, 0),
        'confirmation', v_prebooking.confirmation
      )
    END
  );
END
$$""",
        r"""-- Promises: all that a message is made of, as it is now: the message, whom it is for and what it is about. It holds personal
-- data, and goes to nobody but the one who sends. Called by begin_message.
CREATE OR REPLACE FUNCTION message_body(p_message messages)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
  v_prebooking prebookings;
  v_sync auto_syncs;
  v_resource resources;
BEGIN
  IF p_message.subject_type = 'booking' THEN
    SELECT * INTO v_booking FROM bookings b WHERE b.id = p_message.subject_id;
  ELSIF p_message.subject_type = 'auto_sync' THEN
    SELECT * INTO v_sync FROM auto_syncs a WHERE a.id = p_message.subject_id;
  ELSE
    SELECT * INTO v_prebooking FROM prebookings p WHERE p.id = p_message.subject_id;
  END IF;
  SELECT * INTO v_resource FROM resources r WHERE r.id = COALESCE(v_booking.resource_id, v_prebooking.resource_id);
  RETURN jsonb_build_object(
    'channel', p_message.channel,
    'template', p_message.template,
    'customer', (
      SELECT jsonb_build_object(
        'name', c.name, 'email', c.email, 'phone', c.phone, 'language', c.language,
        'timezone', COALESCE(
          c.timezone, v_sync.timezone, v_resource.timezone, (SELECT p.timezone FROM providers p WHERE p.name = v_prebooking.provider)
        )
      )
      FROM customers c
      WHERE c.id = p_message.customer_id
    ),
    'resource', CASE
      WHEN v_resource.id IS NOT NULL THEN jsonb_build_object('name', v_resource.name, 'timezone', v_resource.timezone)
    END,
    'booking', CASE WHEN v_booking.id IS NOT NULL THEN to_jsonb(v_booking) - 'metadata' END,
    'prebooking', CASE
      WHEN v_prebooking.id IS NOT NULL THEN jsonb_build_object(
        'provider', v_prebooking.provider,
        'target', v_prebooking.targets -> COALESCE(v_prebooking.booked_choice - 1, 0),
        'confirmation', v_prebooking.confirmation
      )
    END,
    'auto_sync', CASE WHEN v_sync.id IS NOT NULL THEN auto_sync_facts(v_sync, p_message.customer_id) END
  );
END
$$""",
    ),
    Change(
        "functions/message_reason",
        r"""-- Promises: why a message may not go out now, or null: it would be wrong, late or unwelcome. The booking's row stays as it
-- was read until the caller's transaction ends. Called by begin_message.
-- Locks: booking (shared), so that it waits for a change under way, and a change waits for it.
CREATE OR REPLACE FUNCTION message_reason(p_message messages, p_now timestamptz DEFAULT clock_timestamp())
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers := (SELECT c FROM customers c WHERE c.id = p_message.customer_id);
  v_booking bookings;
BEGIN
  IF p_message.subject_type = 'booking' THEN
    SELECT * INTO v_booking FROM bookings b WHERE b.id = p_message.subject_id FOR SHARE;
    IF (v_booking.status, v_booking.starts_at) IS DISTINCT FROM (p_message.told_status, p_message.told_starts_at) THEN
      RETURN 'outdated';
    ELSIF p_message.template = 'booking_reminder' AND v_booking.starts_at <= p_now OR v_booking.expires_at <= p_now THEN
      RETURN 'too_late';
    END IF;
  END IF;
  RETURN CASE
    WHEN NOT EXISTS (SELECT FROM message_channels h WHERE h.name = p_message.channel AND h.is_enabled)
      THEN 'channel_disabled'
    WHEN CASE p_message.channel WHEN 'email' THEN v_customer.email_opt_out ELSE v_customer.sms_opt_out END
      THEN 'opted_out'
    WHEN CASE p_message.channel WHEN 'email' THEN v_customer.email ELSE v_customer.phone END IS NULL THEN 'no_address'
  END;
END
$$""",
        r"""-- Promises: why a message may not go out now, or null: it would be wrong, late or unwelcome. The row it tells of stays as it
-- was read until the caller's transaction ends. Called by begin_message.
-- Locks: booking or auto-sync (shared), so that it waits for a change under way, and a change waits for it.
CREATE OR REPLACE FUNCTION message_reason(p_message messages, p_now timestamptz DEFAULT clock_timestamp())
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers := (SELECT c FROM customers c WHERE c.id = p_message.customer_id);
  v_booking bookings;
BEGIN
  IF p_message.subject_type = 'booking' THEN
    SELECT * INTO v_booking FROM bookings b WHERE b.id = p_message.subject_id FOR SHARE;
    IF (v_booking.status, v_booking.starts_at) IS DISTINCT FROM (p_message.told_status, p_message.told_starts_at) THEN
      RETURN 'outdated';
    ELSIF p_message.template = 'booking_reminder' AND v_booking.starts_at <= p_now OR v_booking.expires_at <= p_now THEN
      RETURN 'too_late';
    END IF;
  ELSIF p_message.subject_type = 'auto_sync' AND auto_sync_message_is_outdated(p_message) THEN
    RETURN 'outdated';
  END IF;
  RETURN CASE
    WHEN NOT EXISTS (SELECT FROM message_channels h WHERE h.name = p_message.channel AND h.is_enabled)
      THEN 'channel_disabled'
    WHEN CASE p_message.channel WHEN 'email' THEN v_customer.email_opt_out ELSE v_customer.sms_opt_out END
      THEN 'opted_out'
    WHEN CASE p_message.channel WHEN 'email' THEN v_customer.email ELSE v_customer.phone END IS NULL THEN 'no_address'
  END;
END
$$""",
    ),
    Change(
        "functions/own_auto_syncs",
        None,
        r"""-- Promises: the auto-syncs of the crews of the customer who acts in this transaction, whoever asks.
-- Called by the row-level policies, as the owner of the tables.
CREATE OR REPLACE FUNCTION own_auto_syncs()
RETURNS SETOF uuid
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
  SELECT a.id FROM auto_syncs a WHERE a.crew_id IN (SELECT own_crews())
$$""",
    ),
    Change(
        "functions/own_crews",
        None,
        r"""-- Promises: the crews of the customer who acts in this transaction, whoever asks; none where no customer does.
-- Called by the row-level policies, as the owner of the tables: under the policies themselves it would ask for ever.
CREATE OR REPLACE FUNCTION own_crews()
RETURNS SETOF uuid
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
  -- on a reused connection an unset setting reads '', not NULL
  SELECT crews_of(NULLIF(current_setting('holdfast.actor', true), '')::jsonb ->> 'customer_ref')
$$""",
    ),
    Change(
        "functions/pause_due_auto_syncs",
        None,
        r"""-- Promises: auto-syncs whose pause check is due are paused: their goal is not met, or they would be completed. Answers how
-- many. Called by the job processor. Locks: auto-syncs, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION pause_due_auto_syncs(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due uuid[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_due := lock_due_auto_syncs('auto_sync_pause_check', p_limit, p_now);
  UPDATE auto_syncs a
  SET status = 'paused', pause_reason = 'goal_not_met', paused_at = p_now, updated_at = p_now
  WHERE a.id = ANY (v_due);
  RETURN cardinality(v_due);
END
$$""",
    ),
    Change(
        "functions/propose_times",
        None,
        r"""-- Promises: these times are proposed, in this order: those of slots at the resource, or any where there is none, all of them
-- to come. Called by create_auto_sync. Raises: SB034 invalid_times.
CREATE OR REPLACE FUNCTION propose_times(
  p_auto_sync_id uuid, p_resource_id uuid, p_times jsonb, p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_proposed bigint;
BEGIN
  INSERT INTO auto_sync_times (auto_sync_id, position, starts_at, ends_at, slot_id)
  SELECT p_auto_sync_id, t.position, o.starts_at, o.ends_at, o.slot_id
  FROM jsonb_array_elements(p_times) WITH ORDINALITY t (proposed, position)
  CROSS JOIN LATERAL (
    SELECT s.starts_at, s.ends_at, s.id
    FROM slots s
    WHERE s.id = (t.proposed ->> 'slot_id')::uuid AND s.resource_id = p_resource_id AND NOT s.is_legacy
    UNION ALL
    SELECT (t.proposed ->> 'starts_at')::timestamptz, (t.proposed ->> 'ends_at')::timestamptz, NULL
    WHERE p_resource_id IS NULL AND t.proposed ->> 'slot_id' IS NULL
  ) o (starts_at, ends_at, slot_id)
  WHERE o.starts_at > p_now;
  GET DIAGNOSTICS v_proposed = ROW_COUNT;
  IF v_proposed < jsonb_array_length(p_times) THEN
    RAISE EXCEPTION 'invalid_times' USING ERRCODE = 'SB034',
      DETAIL = json_build_object('resource_id', p_resource_id, 'times', p_times);
  END IF;
END
$$""",
    ),
    Change(
        "functions/read_events",
        r"""-- Promises: the events that a cursor has not passed, each once, those of one subject in the order of their commits; the last
-- row has no event, and the cursor to go on from. Reads p_limit events at most, and answers those that pass the filters.
-- Called by GET /v1/events and its page. A round is what one snapshot sees and the one before did not, by id; its cursor
-- is `seen~round~after~last`, at its end `round` alone. Without a cursor nothing has happened yet.
-- Raises: a data exception (class 22) for text that is no cursor of this database.
CREATE OR REPLACE FUNCTION read_events(
  p_cursor text DEFAULT NULL, p_types text[] DEFAULT NULL, p_customer_ref text DEFAULT NULL, p_limit integer DEFAULT 500
)
RETURNS TABLE (event_cursor text, event_name text, customer_ref text, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_now pg_snapshot := pg_current_snapshot();
  v_parts text[] := string_to_array(p_cursor, '~');
  v_seen pg_snapshot := COALESCE(v_parts[1]::pg_snapshot, v_now);
  v_round pg_snapshot := COALESCE(v_parts[2]::pg_snapshot, v_now);
  v_after bigint := v_parts[3]::bigint;
  v_last bigint := v_parts[4]::bigint;
  v_prefix text := v_seen || '~' || v_round || '~';
  v_page audit_log[];
BEGIN
  IF GREATEST(pg_snapshot_xmax(v_seen), pg_snapshot_xmax(v_round)) > pg_snapshot_xmax(v_now) THEN
    RAISE SQLSTATE '22023' USING MESSAGE = 'the cursor is ahead of this database';
  END IF;

  IF v_last IS NULL THEN
    -- "+ 0": or the planner looks for the least id from the beginning of the table on
    SELECT min(a.id + 0) - 1, max(a.id + 0) INTO v_after, v_last
    FROM (
      SELECT x.id FROM audit_log x WHERE x.xid >= pg_snapshot_xmax(v_seen) AND x.xid < pg_snapshot_xmax(v_round)
      UNION ALL
      SELECT x.id FROM audit_log x WHERE x.xid = ANY (ARRAY(SELECT pg_snapshot_xip(v_seen)))
    ) AS a;
  END IF;
  v_page := ARRAY(
    SELECT a
    FROM audit_log a
    WHERE a.id > v_after AND a.id <= v_last
      AND NOT pg_visible_in_snapshot(a.xid, v_seen) AND pg_visible_in_snapshot(a.xid, v_round)
    ORDER BY a.id
    LIMIT p_limit
  );

  RETURN QUERY
    SELECT v_prefix || a.id || '~' || v_last, event_type(a.event), c.ref, event_json(a, c.ref)
    FROM unnest(v_page) a
    LEFT JOIN customers c ON c.id = (a.new_values ->> 'customer_id')::uuid
    WHERE (p_types IS NULL OR event_type(a.event) = ANY (p_types))
      AND (p_customer_ref IS NULL OR c.ref = p_customer_ref)
    ORDER BY a.id;
  event_cursor := CASE
    WHEN cardinality(v_page) = p_limit THEN v_prefix || v_page[p_limit].id || '~' || v_last
    ELSE v_round::text
  END;
  RETURN NEXT;
END
$$""",
        r"""-- Promises: the events that a cursor has not passed, each once, those of one subject in the order of their commits; the last
-- row has no event, and the cursor to go on from. Reads p_limit events at most, and answers those that pass the filters.
-- Called by GET /v1/events and its page. A round is what one snapshot sees and the one before did not, by id; its cursor
-- is `seen~round~after~last`, at its end `round` alone. Without a cursor nothing has happened yet.
-- Raises: a data exception (class 22) for text that is no cursor of this database.
CREATE OR REPLACE FUNCTION read_events(
  p_cursor text DEFAULT NULL, p_types text[] DEFAULT NULL, p_customer_ref text DEFAULT NULL, p_limit integer DEFAULT 500
)
RETURNS TABLE (event_cursor text, event_name text, customer_ref text, body json)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_now pg_snapshot := pg_current_snapshot();
  v_parts text[] := string_to_array(p_cursor, '~');
  v_seen pg_snapshot := COALESCE(v_parts[1]::pg_snapshot, v_now);
  v_round pg_snapshot := COALESCE(v_parts[2]::pg_snapshot, v_now);
  v_after bigint := v_parts[3]::bigint;
  v_last bigint := v_parts[4]::bigint;
  v_prefix text := v_seen || '~' || v_round || '~';
  v_page audit_log[];
BEGIN
  IF GREATEST(pg_snapshot_xmax(v_seen), pg_snapshot_xmax(v_round)) > pg_snapshot_xmax(v_now) THEN
    RAISE SQLSTATE '22023' USING MESSAGE = 'the cursor is ahead of this database';
  END IF;

  IF v_last IS NULL THEN
    -- "+ 0": or the planner looks for the least id from the beginning of the table on
    SELECT min(a.id + 0) - 1, max(a.id + 0) INTO v_after, v_last
    FROM (
      SELECT x.id FROM audit_log x WHERE x.xid >= pg_snapshot_xmax(v_seen) AND x.xid < pg_snapshot_xmax(v_round)
      UNION ALL
      SELECT x.id FROM audit_log x WHERE x.xid = ANY (ARRAY(SELECT pg_snapshot_xip(v_seen)))
    ) AS a;
  END IF;
  v_page := ARRAY(
    SELECT a
    FROM audit_log a
    WHERE a.id > v_after AND a.id <= v_last
      AND NOT pg_visible_in_snapshot(a.xid, v_seen) AND pg_visible_in_snapshot(a.xid, v_round)
    ORDER BY a.id
    LIMIT p_limit
  );

  RETURN QUERY
    SELECT v_prefix || a.id || '~' || v_last, event_type(a.event), c.ref, event_json(a, c.ref)
    FROM unnest(v_page) a
    LEFT JOIN customers c ON c.id = COALESCE(a.new_values ->> 'customer_id', a.new_values ->> 'organizer_id')::uuid
    WHERE (p_types IS NULL OR event_type(a.event) = ANY (p_types))
      AND (p_customer_ref IS NULL OR c.ref = p_customer_ref)
    ORDER BY a.id;
  event_cursor := CASE
    WHEN cardinality(v_page) = p_limit THEN v_prefix || v_page[p_limit].id || '~' || v_last
    ELSE v_round::text
  END;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/record_response",
        None,
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
    ),
    Change(
        "functions/remind_due_auto_syncs",
        None,
        r"""-- Promises: auto-syncs whose reminder is due have told those who have not answered, once each, and wait for their pause
-- check. Answers how many were looked at. Called by the job processor.
-- Locks: auto-syncs, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION remind_due_auto_syncs(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due uuid[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_due := lock_due_auto_syncs('auto_sync_reminder', p_limit, p_now);
  UPDATE auto_syncs a SET reminded_at = p_now, updated_at = p_now WHERE a.id = ANY (v_due);
  PERFORM make_messages(
    'auto_sync_reminder', p.customer_id, 'auto_sync', p.auto_sync_id, 'auto_sync_reminder/' || p.id, 'running', NULL, p_now
  )
  FROM auto_sync_participants p
  WHERE p.auto_sync_id = ANY (v_due) AND p.removed_at IS NULL AND p.answer IS NULL;
  RETURN cardinality(v_due);
END
$$""",
    ),
    Change(
        "functions/remove_crew_member",
        None,
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
    ),
    Change(
        "functions/set_auto_sync_status",
        None,
        r"""-- Promises: the auto-sync is paused, running again or cancelled; the same twice is once. Paused it reminds nobody, completes
-- by itself no more, and takes answers still; resumed it completes at once, if these meet its goal.
-- Called by POST /v1/auto-syncs/{id}/pause, /resume and /cancel. Locks: auto-sync, what completing it locks, its jobs.
-- Raises: SB007 invalid_transition, SB032 auto_sync_not_found.
CREATE OR REPLACE FUNCTION set_auto_sync_status(
  p_actor jsonb, p_auto_sync_id uuid, p_status text, p_reason text DEFAULT NULL, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_sync auto_syncs;
BEGIN
  PERFORM set_config('holdfast.actor', (p_actor || jsonb_build_object('reason', p_reason))::text, true);
  v_sync := lock_auto_sync(p_actor, p_auto_sync_id);
  IF v_sync.status <> p_status THEN
    UPDATE auto_syncs a
    SET status = p_status,
        paused_at = CASE p_status WHEN 'paused' THEN p_now END,
        resumed_at = CASE p_status WHEN 'running' THEN p_now ELSE a.resumed_at END,
        updated_at = p_now
    WHERE a.id = p_auto_sync_id
    RETURNING * INTO v_sync;
    IF v_sync.status = 'running' AND auto_sync_goal_is_met(v_sync) THEN
      PERFORM complete_auto_sync(v_sync, p_now);
    END IF;
  END IF;
  RETURN get_auto_sync(p_auto_sync_id);
END
$$""",
    ),
    Change(
        "triggers/auto_sync_participants_count",
        None,
        r"""-- Once for all that a statement changed: of answers written together none comes after the end.
CREATE OR REPLACE TRIGGER auto_sync_participants_count
AFTER UPDATE ON auto_sync_participants
REFERENCING OLD TABLE AS changed_before NEW TABLE AS changed_after
FOR EACH STATEMENT
EXECUTE FUNCTION auto_sync_participants_count()""",
    ),
    Change(
        "triggers/auto_sync_participants_invite",
        None,
        r"""CREATE OR REPLACE TRIGGER auto_sync_participants_invite
AFTER INSERT ON auto_sync_participants
FOR EACH ROW
EXECUTE FUNCTION auto_sync_participants_invite()""",
    ),
    Change(
        "triggers/auto_sync_participants_refuse_delete",
        None,
        r"""-- Who is asked no more is removed by a time, never by vanishing.
CREATE OR REPLACE TRIGGER auto_sync_participants_refuse_delete
BEFORE DELETE OR TRUNCATE ON auto_sync_participants
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/auto_sync_participants_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER auto_sync_participants_write_audit
AFTER UPDATE ON auto_sync_participants
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('auto_sync_participant')""",
    ),
    Change(
        "triggers/auto_sync_times_refuse_change",
        None,
        r"""-- What was answered was answered to these times.
CREATE OR REPLACE TRIGGER auto_sync_times_refuse_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON auto_sync_times
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/auto_syncs_ask",
        None,
        r"""CREATE OR REPLACE TRIGGER auto_syncs_ask
AFTER INSERT ON auto_syncs
FOR EACH ROW
WHEN (NEW.status IN ('running', 'paused'))
EXECUTE FUNCTION auto_syncs_ask()""",
    ),
    Change(
        "triggers/auto_syncs_guard_update",
        None,
        r"""CREATE OR REPLACE TRIGGER auto_syncs_guard_update
BEFORE UPDATE ON auto_syncs
FOR EACH ROW
EXECUTE FUNCTION auto_syncs_guard_update()""",
    ),
    Change(
        "triggers/auto_syncs_refuse_delete",
        None,
        r"""-- An auto-sync ends by a status, never by vanishing.
CREATE OR REPLACE TRIGGER auto_syncs_refuse_delete
BEFORE DELETE OR TRUNCATE ON auto_syncs
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/auto_syncs_sync_jobs_on_insert",
        None,
        r"""CREATE OR REPLACE TRIGGER auto_syncs_sync_jobs_on_insert
AFTER INSERT ON auto_syncs
FOR EACH ROW
WHEN (NEW.status = 'running')
EXECUTE FUNCTION auto_syncs_sync_jobs()""",
    ),
    Change(
        "triggers/auto_syncs_sync_jobs_on_update",
        None,
        r"""-- Only what decides which job it has and when: an answer leaves it alone.
CREATE OR REPLACE TRIGGER auto_syncs_sync_jobs_on_update
AFTER UPDATE ON auto_syncs
FOR EACH ROW
WHEN (
  (OLD.status, OLD.started_at, OLD.reminded_at, OLD.resumed_at, OLD.reminder_after, OLD.pause_after)
  IS DISTINCT FROM (NEW.status, NEW.started_at, NEW.reminded_at, NEW.resumed_at, NEW.reminder_after, NEW.pause_after)
)
EXECUTE FUNCTION auto_syncs_sync_jobs()""",
    ),
    Change(
        "triggers/auto_syncs_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER auto_syncs_write_audit
AFTER INSERT OR UPDATE ON auto_syncs
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('auto_sync')""",
    ),
    Change(
        "triggers/crew_members_follow_on_insert",
        None,
        r"""CREATE OR REPLACE TRIGGER crew_members_follow_on_insert
AFTER INSERT ON crew_members
FOR EACH ROW
EXECUTE FUNCTION crew_members_follow()""",
    ),
    Change(
        "triggers/crew_members_follow_on_update",
        None,
        r"""CREATE OR REPLACE TRIGGER crew_members_follow_on_update
AFTER UPDATE OF left_at ON crew_members
FOR EACH ROW
WHEN (OLD.left_at IS DISTINCT FROM NEW.left_at)
EXECUTE FUNCTION crew_members_follow()""",
    ),
    Change(
        "triggers/crew_members_refuse_delete",
        None,
        r"""-- Who leaves has a time of leaving, and never vanishes.
CREATE OR REPLACE TRIGGER crew_members_refuse_delete
BEFORE DELETE OR TRUNCATE ON crew_members
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/crew_members_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER crew_members_write_audit
AFTER INSERT OR UPDATE ON crew_members
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('crew_member')""",
    ),
    Change(
        "triggers/crews_refuse_delete",
        None,
        r"""-- A crew is what its auto-syncs were asked of.
CREATE OR REPLACE TRIGGER crews_refuse_delete
BEFORE DELETE OR TRUNCATE ON crews
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/crews_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER crews_write_audit
AFTER INSERT OR UPDATE ON crews
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('crew')""",
    ),
]

# table -> the rows of it that belong to whom a transaction acts for: nobody but the owner of the tables sees others, and
# nobody but the owner changes any
POLICIES = {
    "crews": "id IN (SELECT own_crews())",
    "crew_members": "crew_id IN (SELECT own_crews())",
    "auto_syncs": "crew_id IN (SELECT own_crews())",
    "auto_sync_times": "auto_sync_id IN (SELECT own_auto_syncs())",
    "auto_sync_participants": "auto_sync_id IN (SELECT own_auto_syncs())",
}


def upgrade() -> None:
    frozen.upgrade(CHANGES)
    for table, condition in POLICIES.items():
        op.execute(f"CREATE POLICY {table}_of_own_crews ON {table} FOR SELECT TO PUBLIC USING ({condition})")
    # what 0024 left for later: check the old rows
    for table, check in (("jobs", "queue"), ("messages", "subject_type")):
        op.execute(
            f"""-- squawk-ignore constraint-missing-not-valid
            ALTER TABLE {table} VALIDATE CONSTRAINT {table}_{check}_check"""
        )


def downgrade() -> None:
    for table in POLICIES:
        op.execute(f"DROP POLICY {table}_of_own_crews ON {table}")
    # the tables stay; what waits in them is done by nobody
    op.execute(
        """UPDATE jobs SET status = 'cancelled', processed_at = now(), updated_at = now()
        WHERE job_type IN ('auto_sync_reminder', 'auto_sync_pause_check') AND status = 'pending'"""
    )
    op.execute(
        """UPDATE messages SET status = 'skipped', reason = 'outdated', updated_at = now()
        WHERE subject_type = 'auto_sync' AND status = 'pending'"""
    )
    frozen.downgrade(CHANGES)
