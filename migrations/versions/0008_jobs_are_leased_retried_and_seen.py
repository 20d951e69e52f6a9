"""jobs are leased retried and seen.

Revision ID: 0008
Revises: 0007
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/backfill_jobs",
        None,
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
    ),
    Change(
        "functions/cancel_job",
        None,
        r"""-- Promises: a job that waits will not run; one that runs is asked to stop, and does not run again.
-- Called by POST /v1/jobs/{id}/cancel. Locks: job. Raises: SB021 job_not_found, SB007 invalid_transition.
CREATE OR REPLACE FUNCTION cancel_job(p_actor jsonb, p_job_id uuid, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job jobs := lock_job(p_job_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF v_job.queue IS NULL OR v_job.status NOT IN ('pending', 'processing') THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object(
        'job_id', p_job_id, 'job_type', v_job.job_type, 'from', v_job.status, 'to', 'cancelled'
      );
  END IF;

  UPDATE jobs j
  SET status = CASE j.status WHEN 'pending' THEN 'cancelled' ELSE j.status END,
      processed_at = CASE j.status WHEN 'pending' THEN p_now END,
      cancel_requested_at = COALESCE(j.cancel_requested_at, p_now),
      updated_at = p_now
  WHERE j.id = p_job_id;
  RETURN get_job(p_job_id);
END
$$""",
    ),
    Change(
        "functions/claim_jobs",
        None,
        r"""-- Promises: due jobs of a queue, each leased to this caller alone, under a token no earlier holder has; by priority, then
-- due time. A quarter of the room goes first to what has waited a minute, so that no priority starves another.
-- Called by the processor and the worker. Locks: queue (if it has a limit), jobs, SKIP LOCKED.
CREATE OR REPLACE FUNCTION claim_jobs(
  p_instance_id text, p_queue text, p_limit integer, p_lease interval, p_now timestamptz DEFAULT now()
)
RETURNS TABLE (
  id uuid, job_type text, payload jsonb, attempt integer, max_attempts integer, lease_token bigint, booking_id uuid,
  scheduled_at timestamptz
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- one plan, by the claim's own index, whatever the statistics of a table that fills and empties say
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = 'off'
SET enable_bitmapscan = 'off'
AS $$
DECLARE
  v_room integer := LEAST(p_limit, queue_room(p_queue, p_now));
  -- in the mean a quarter, also of very little
  v_aged integer := floor(v_room * 0.25 + random());
  v_step record;
  v_claimed integer;
BEGIN
  FOR v_step IN
    SELECT s.priority, s.is_aged
    FROM (VALUES (3, true), (2, true), (1, true), (0, false), (1, false), (2, false), (3, false)) s (priority, is_aged)
    -- of those that have waited, whoever has for longest
    ORDER BY
      s.is_aged DESC,
      CASE WHEN s.is_aged THEN (
        SELECT min(d.run_at) FROM jobs d WHERE d.queue = p_queue AND d.priority = s.priority AND d.status = 'pending'
      ) END,
      s.priority
  LOOP
    CONTINUE WHEN LEAST(v_room, CASE WHEN v_step.is_aged THEN v_aged END) <= 0;
    RETURN QUERY
      WITH claimed AS (
        UPDATE jobs j
        SET status = 'processing',
            attempt = j.attempt + 1,
            lease_token = j.lease_token + 1,
            leased_by = p_instance_id,
            leased_until = p_now + p_lease,
            attempted_at = p_now,
            updated_at = p_now
        WHERE j.id = ANY (
          ARRAY(
            SELECT d.id
            FROM jobs d
            WHERE d.queue = p_queue AND d.priority = v_step.priority AND d.status = 'pending'
              AND d.run_at <= p_now - CASE WHEN v_step.is_aged THEN interval '1 minute' ELSE interval '0' END
            ORDER BY d.run_at, d.seq
            LIMIT LEAST(v_room, CASE WHEN v_step.is_aged THEN v_aged END)
            FOR NO KEY UPDATE SKIP LOCKED
          )
        )
        RETURNING j.*
      )
      SELECT c.id, c.job_type, c.payload, c.attempt, c.max_attempts, c.lease_token, c.booking_id, c.scheduled_at
      FROM claimed c
      ORDER BY c.run_at, c.seq;
    GET DIAGNOSTICS v_claimed = ROW_COUNT;
    v_room := v_room - v_claimed;
    v_aged := v_aged - CASE WHEN v_step.is_aged THEN v_claimed ELSE 0 END;
  END LOOP;
END
$$""",
    ),
    Change(
        "functions/complete_due_bookings",
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
    WHERE j.job_type = 'complete_booking' AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
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
        "functions/complete_leased_job",
        None,
        r"""-- Promises: the job is processed in the caller's own transaction, or all of it is undone: its effect happens exactly once.
-- Called last by functions that do a job inside the database, for locks go slots, bookings, jobs. Locks: job.
-- Raises: SB020 lease_lost.
CREATE OR REPLACE FUNCTION complete_leased_job(
  p_job_id uuid, p_lease_token bigint, p_follow_ups jsonb DEFAULT '[]', p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM FROM settle_jobs(
    jsonb_build_array(
      jsonb_build_object(
        'id', p_job_id, 'lease_token', p_lease_token, 'outcome', 'processed', 'follow_ups', p_follow_ups
      )
    ),
    p_now
  ) s
  WHERE s.answer = 'ok';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'lease_lost' USING ERRCODE = 'SB020',
      DETAIL = json_build_object('job_id', p_job_id, 'lease_token', p_lease_token);
  END IF;
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
  WHERE j.job_type IN ('complete_booking', 'expire_booking', 'refresh_schedule')
    AND j.status = 'pending' AND j.run_at <= p_now
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
    WHERE j.job_type IN ('complete_booking', 'expire_booking', 'refresh_schedule')
      AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
    UNION ALL
    SELECT j.run_at
    FROM pending_queues() q (name)
    JOIN jobs j ON j.queue = q.name AND j.priority IN (0, 1, 2, 3) AND j.status = 'pending' AND j.run_at <= p_now
  ) d
$$""",
    ),
    Change(
        "functions/end_job",
        None,
        r"""-- Promises: a job that was being run is over, as this status says, which it answers. Called by return_job.
CREATE OR REPLACE FUNCTION end_job(
  p_job_id uuid, p_status text, p_error_message text, p_now timestamptz DEFAULT now()
)
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  UPDATE jobs j
  SET status = p_status,
      leased_until = NULL,
      processed_at = p_now,
      error_message = left(p_error_message, 2000),
      updated_at = p_now
  WHERE j.id = p_job_id;
  RETURN p_status;
END
$$""",
    ),
    Change(
        "functions/enqueue_job",
        None,
        r"""-- Promises: one pending job of that type under that key, due when this caller said last; a twin that is being run already
-- is left to end, and another stands pending. Answers its id. Called by whoever wants something done later.
CREATE OR REPLACE FUNCTION enqueue_job(
  p_job_type text,
  p_payload jsonb DEFAULT '{}',
  p_run_at timestamptz DEFAULT NULL,
  p_dedupe_key text DEFAULT NULL,
  p_queue text DEFAULT 'default',
  p_priority integer DEFAULT 1,
  p_max_attempts integer DEFAULT 4,
  p_booking_id uuid DEFAULT NULL,
  p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due_at timestamptz := COALESCE(p_run_at, p_now);
  v_job_id uuid;
BEGIN
  INSERT INTO jobs AS j (
    job_type, queue, dedupe_key, booking_id, payload, priority, max_attempts, scheduled_at, run_at, created_at, updated_at
  )
  VALUES (
    p_job_type, p_queue, COALESCE(p_dedupe_key, gen_random_uuid()::text), p_booking_id, p_payload, p_priority,
    p_max_attempts, v_due_at, v_due_at, p_now, p_now
  )
  -- what was asked for before, and tried perhaps, is not asked for any more
  ON CONFLICT (dedupe_key, job_type) WHERE status = 'pending' DO UPDATE
    SET queue = EXCLUDED.queue,
        payload = EXCLUDED.payload,
        priority = EXCLUDED.priority,
        attempt = 0,
        max_attempts = EXCLUDED.max_attempts,
        scheduled_at = EXCLUDED.scheduled_at,
        run_at = EXCLUDED.run_at,
        updated_at = EXCLUDED.updated_at
  RETURNING j.id INTO v_job_id;
  RETURN v_job_id;
END
$$""",
    ),
    Change(
        "functions/expire_due_bookings",
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
    WHERE j.job_type = 'expire_booking' AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
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
        "functions/extend_leases",
        None,
        r"""-- Promises: jobs that the caller still holds are leased to it for so much longer. Answers which, and whether somebody asked
-- to cancel them; one that is not among them is lost, and its work should stop. Called by the worker. Locks: jobs by id.
CREATE OR REPLACE FUNCTION extend_leases(
  p_job_ids uuid[], p_lease_tokens bigint[], p_lease interval, p_now timestamptz DEFAULT now()
)
RETURNS TABLE (job_id uuid, lease_token bigint, is_cancel_requested boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    WITH held AS MATERIALIZED (
      SELECT j.id
      FROM unnest(p_job_ids, p_lease_tokens) AS h (id, lease_token)
      JOIN jobs j ON j.id = h.id AND j.lease_token = h.lease_token
      WHERE j.status = 'processing'
      ORDER BY j.id
      FOR NO KEY UPDATE OF j
    )
    UPDATE jobs j
    SET leased_until = p_now + p_lease
    FROM held
    WHERE j.id = held.id
    RETURNING j.id, j.lease_token, j.cancel_requested_at IS NOT NULL;
END
$$""",
    ),
    Change(
        "functions/get_job",
        None,
        r"""-- Promises: one job with each of its attempts, oldest first. Called by GET /v1/jobs/{id}, cancel_job and retry_job.
-- Raises: SB021 job_not_found.
CREATE OR REPLACE FUNCTION get_job(p_job_id uuid)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job jobs;
BEGIN
  SELECT * INTO v_job FROM jobs j WHERE j.id = p_job_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'job_not_found' USING ERRCODE = 'SB021', DETAIL = json_build_object('job_id', p_job_id);
  END IF;
  RETURN to_jsonb(job_json(v_job)) || jsonb_build_object(
    'attempts', (
      SELECT COALESCE(
        jsonb_agg(
          jsonb_build_object(
            'attempt', a.attempt, 'instance_id', a.instance_id, 'outcome', a.outcome, 'error_message', a.error_message,
            'started_at', a.started_at, 'ended_at', a.ended_at
          )
          ORDER BY a.lease_token
        ),
        '[]'
      )
      FROM job_attempts a
      WHERE a.job_id = p_job_id
    )
  );
END
$$""",
    ),
    Change(
        "functions/job_json",
        None,
        r"""-- Promises: the one JSON shape of a job. Its payload is not shown: it may hold personal data.
-- Called by get_job and list_jobs.
CREATE OR REPLACE FUNCTION job_json(p_job jobs)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_job.id,
    'job_type', p_job.job_type,
    'queue', p_job.queue,
    'dedupe_key', p_job.dedupe_key,
    'booking_id', p_job.booking_id,
    'status', p_job.status,
    'priority', p_job.priority,
    'scheduled_at', p_job.scheduled_at,
    'run_at', p_job.run_at,
    'attempt', p_job.attempt,
    'max_attempts', p_job.max_attempts,
    'leased_by', CASE p_job.status WHEN 'processing' THEN p_job.leased_by END,
    'leased_until', p_job.leased_until,
    'cancel_requested_at', p_job.cancel_requested_at,
    'error_message', p_job.error_message,
    'result', p_job.result,
    'processed_at', p_job.processed_at,
    'created_at', p_job.created_at,
    'updated_at', p_job.updated_at
  );
END
$$""",
    ),
    Change(
        "functions/job_stats",
        None,
        r"""-- Promises: what a person asks of the jobs: how many of each type and status, how late they start, what is stuck, how the
-- queues stand, and when somebody last came to do them. Called by GET /v1/jobs/stats, GET /metrics and `holdfast jobs`.
-- Counts every job there is; lateness is that of first attempts of the last hour.
CREATE OR REPLACE FUNCTION job_stats(p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'counts', (
      SELECT COALESCE(json_agg(c ORDER BY c.job_type, c.status), '[]')
      FROM (SELECT j.job_type, j.status, count(*) AS count FROM jobs j GROUP BY j.job_type, j.status) c
    ),
    'due', (SELECT d.remaining_due FROM due_jobs(p_now) d),
    'oldest_due_age_ms', (SELECT d.oldest_due_age_ms FROM due_jobs(p_now) d),
    'stuck', (SELECT count(*) FROM jobs j WHERE j.status = 'processing' AND j.leased_until < p_now),
    'lateness_ms', (
      SELECT json_build_object('p50', l.p[1]::bigint, 'p95', l.p[2]::bigint, 'p99', l.p[3]::bigint, 'jobs', l.jobs)
      FROM (
        SELECT
          percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
            ORDER BY extract(epoch FROM COALESCE(j.attempted_at, j.processed_at) - j.scheduled_at) * 1000
          ) AS p,
          count(*) AS jobs
        FROM jobs j
        WHERE j.processed_at > p_now - interval '1 hour' AND j.status IN ('processed', 'skipped') AND j.attempt <= 1
      ) l
    ),
    'queues', (
      SELECT COALESCE(json_agg(queue_json(q.name, p_now) ORDER BY q.name), '[]')
      FROM (
        SELECT name FROM job_queues
        UNION SELECT p.name FROM pending_queues() p (name)
        UNION SELECT j.queue FROM jobs j WHERE j.status = 'processing'
      ) q (name)
    ),
    'callers', (
      SELECT COALESCE(json_agg(r ORDER BY r.caller), '[]')
      FROM (
        SELECT x.caller, max(x.seen_at) AS last_seen_at, count(*) AS runs, count(*) FILTER (WHERE x.ended_at IS NULL) AS open
        FROM job_runs x
        GROUP BY x.caller
      ) r
    )
  );
END
$$""",
    ),
    Change(
        "functions/jobs_guard_update",
        None,
        r"""-- Promises: a job's status takes only steps that the engine knows, whoever writes, and no token is given twice.
-- Called by trigger jobs_guard_update for all others. Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION jobs_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
    DETAIL = json_build_object(
      'job_id', OLD.id, 'from', OLD.status, 'to', NEW.status,
      'from_token', OLD.lease_token, 'to_token', NEW.lease_token
    );
END
$$""",
    ),
    Change(
        "functions/jobs_heartbeat",
        None,
        r"""-- Promises: how many milliseconds the oldest due job has waited, and how long ago somebody last came to do what is due;
-- NULL where nobody ever did. Called by GET /readyz/jobs, GET /metrics and `holdfast doctor`.
CREATE OR REPLACE FUNCTION jobs_heartbeat(p_now timestamptz DEFAULT now())
RETURNS TABLE (due bigint, oldest_due_age_ms bigint, last_run_age_ms bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT
    d.remaining_due,
    d.oldest_due_age_ms,
    (SELECT (extract(epoch FROM p_now - max(r.seen_at)) * 1000)::bigint FROM job_runs r)
  FROM due_jobs(p_now) d
$$""",
    ),
    Change(
        "functions/list_jobs",
        None,
        r"""-- Promises: one page of the jobs that pass every filter, in order of creation, and the next page's cursor.
-- Called by GET /v1/jobs. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_jobs(
  p_status text DEFAULT NULL,
  p_job_type text DEFAULT NULL,
  p_queue text DEFAULT NULL,
  p_booking_id uuid DEFAULT NULL,
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
  v_page jobs[];
BEGIN
  v_page := ARRAY(
    SELECT j
    FROM jobs j
    WHERE (j.created_at, j.id) > (v_after.at, v_after.id)
      AND (p_status IS NULL OR j.status = p_status)
      AND (p_job_type IS NULL OR j.job_type = p_job_type)
      AND (p_queue IS NULL OR j.queue = p_queue)
      AND (p_booking_id IS NULL OR j.booking_id = p_booking_id)
    ORDER BY j.created_at, j.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE((SELECT json_agg(job_json(j) ORDER BY j.created_at, j.id) FROM unnest(v_page[:p_limit]) j), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/lock_job",
        None,
        r"""-- Promises: the job's row, locked until the transaction ends. Called by cancel_job and retry_job. Locks: job.
-- Raises: SB021 job_not_found.
CREATE OR REPLACE FUNCTION lock_job(p_job_id uuid)
RETURNS jobs
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job jobs;
BEGIN
  SELECT * INTO v_job FROM jobs j WHERE j.id = p_job_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'job_not_found' USING ERRCODE = 'SB021', DETAIL = json_build_object('job_id', p_job_id);
  END IF;
  RETURN v_job;
END
$$""",
    ),
    Change(
        "functions/next_job_due_in",
        None,
        r"""-- Promises: how long until the next job of these queues is due, or of these types, which the database does by itself;
-- nought or less where one is, NULL where there is none. Called by the worker and the processor, which sleep that long.
CREATE OR REPLACE FUNCTION next_job_due_in(
  p_queues text[], p_job_types text[] DEFAULT '{}', p_now timestamptz DEFAULT now()
)
RETURNS interval
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    -- nobody sleeps for longer than a day
    SELECT CASE WHEN min(d.run_at) IS NOT NULL THEN LEAST(min(d.run_at), p_now + interval '1 day') - p_now END
    FROM (
      -- one probe of the index for each, however many jobs there are
      SELECT (
        SELECT min(j.run_at)
        FROM jobs j
        WHERE j.queue = q.name AND j.priority = p.priority AND j.status = 'pending'
      ) AS run_at
      FROM unnest(p_queues) AS q (name)
      CROSS JOIN generate_series(0, 3) AS p (priority)
      WHERE NOT EXISTS (
        SELECT FROM job_queues x
        WHERE x.name = q.name AND x.paused_at IS NOT NULL AND COALESCE(x.resume_at > p_now, true)
      )
      UNION ALL
      SELECT (
        SELECT min(j.run_at) FROM jobs j WHERE j.job_type = t.job_type AND j.queue IS NULL AND j.status = 'pending'
      )
      FROM unnest(p_job_types) AS t (job_type)
    ) d
  );
END
$$""",
    ),
    Change(
        "functions/pause_queue",
        None,
        r"""-- Promises: nobody claims from the queue for p_pause_for, or until it is resumed; what runs goes on. A pause that is on is
-- changed by people alone.
-- Called by POST /v1/job-queues/{name}/pause, and by the processor where every attempt fails. Locks: queue.
CREATE OR REPLACE FUNCTION pause_queue(
  p_actor jsonb,
  p_queue text,
  p_pause_for interval DEFAULT NULL,
  p_reason text DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO job_queues AS q (name, paused_at, resume_at, pause_reason, created_at, updated_at)
  VALUES (p_queue, p_now, p_now + p_pause_for, p_reason, p_now, p_now)
  ON CONFLICT (name) DO UPDATE
    SET paused_at = EXCLUDED.paused_at,
        resume_at = EXCLUDED.resume_at,
        pause_reason = EXCLUDED.pause_reason,
        updated_at = EXCLUDED.updated_at
    WHERE p_actor ->> 'type' <> 'system' OR q.paused_at IS NULL OR q.resume_at <= p_now;
  RETURN queue_json(p_queue, p_now);
END
$$""",
    ),
    Change(
        "functions/pending_queues",
        None,
        r"""-- Promises: the queues in which something waits, each found by one probe of the index, however many jobs wait in it.
-- Called by due_jobs and job_stats.
CREATE OR REPLACE FUNCTION pending_queues()
RETURNS SETOF text
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  WITH RECURSIVE queues AS (
    (SELECT j.queue FROM jobs j WHERE j.status = 'pending' AND j.queue IS NOT NULL ORDER BY j.queue LIMIT 1)
    UNION ALL
    SELECT (
      SELECT j.queue
      FROM jobs j
      WHERE j.status = 'pending' AND j.queue IS NOT NULL AND j.queue > q.queue
      ORDER BY j.queue
      LIMIT 1
    )
    FROM queues q
    WHERE q.queue IS NOT NULL
  )
  SELECT q.queue FROM queues q WHERE q.queue IS NOT NULL
$$""",
    ),
    Change(
        "functions/prune_job_runs",
        None,
        r"""-- Promises: runs of the processor and sessions of workers that nobody has heard of for p_keep are forgotten.
-- Called by the job processor. Locks: the runs it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_job_runs(
  p_limit integer, p_keep interval DEFAULT '3 days', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_pruned integer;
BEGIN
  DELETE FROM job_runs r
  WHERE r.instance_id = ANY (
    ARRAY(SELECT o.instance_id FROM job_runs o WHERE o.seen_at < p_now - p_keep LIMIT p_limit FOR UPDATE SKIP LOCKED)
  );
  GET DIAGNOSTICS v_pruned = ROW_COUNT;
  RETURN v_pruned;
END
$$""",
    ),
    Change(
        "functions/prune_jobs",
        None,
        r"""-- Promises: jobs that got done, or were not wanted, are forgotten after p_keep, those that failed after p_keep_discarded,
-- with their attempts; at most p_limit a call. Called by the job processor. Locks: the jobs it removes, SKIP LOCKED.
CREATE OR REPLACE FUNCTION prune_jobs(
  p_limit integer,
  p_keep interval DEFAULT '3 days',
  p_keep_discarded interval DEFAULT '30 days',
  p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_old uuid[];
BEGIN
  v_old := ARRAY(
    SELECT j.id
    FROM jobs j
    WHERE j.processed_at IS NOT NULL AND j.processed_at < p_now - p_keep
      AND (j.status <> 'discarded' OR j.processed_at < p_now - p_keep_discarded)
    ORDER BY j.processed_at
    LIMIT p_limit
    FOR UPDATE SKIP LOCKED
  );
  DELETE FROM job_attempts a WHERE a.job_id = ANY (v_old);
  DELETE FROM jobs j WHERE j.id = ANY (v_old);
  RETURN cardinality(v_old);
END
$$""",
    ),
    Change(
        "functions/put_queue",
        None,
        r"""-- Promises: the queue has these limits; one that nobody has set has none. Called by PUT /v1/job-queues/{name}.
-- Locks: queue.
CREATE OR REPLACE FUNCTION put_queue(
  p_actor jsonb, p_queue text, p_max_running integer, p_stagger_ms integer, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO job_queues AS q (name, max_running, stagger_ms, created_at, updated_at)
  VALUES (p_queue, p_max_running, p_stagger_ms, p_now, p_now)
  ON CONFLICT (name) DO UPDATE
    SET max_running = EXCLUDED.max_running, stagger_ms = EXCLUDED.stagger_ms, updated_at = EXCLUDED.updated_at
    WHERE (q.max_running, q.stagger_ms) IS DISTINCT FROM (EXCLUDED.max_running, EXCLUDED.stagger_ms);
  RETURN queue_json(p_queue, p_now);
END
$$""",
    ),
    Change(
        "functions/queue_json",
        None,
        r"""-- Promises: the one JSON shape of a queue, with how much of it is due and running.
-- Called by put_queue, pause_queue, resume_queue and job_stats.
CREATE OR REPLACE FUNCTION queue_json(p_queue text, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_queue job_queues;
  v_is_paused boolean;
BEGIN
  SELECT * INTO v_queue FROM job_queues q WHERE q.name = p_queue;
  v_is_paused := v_queue.paused_at IS NOT NULL AND COALESCE(v_queue.resume_at > p_now, true);
  RETURN json_build_object(
    'name', p_queue,
    'max_running', v_queue.max_running,
    'stagger_ms', COALESCE(v_queue.stagger_ms, 0),
    'paused', v_is_paused,
    'resume_at', CASE WHEN v_is_paused THEN v_queue.resume_at END,
    'pause_reason', CASE WHEN v_is_paused THEN v_queue.pause_reason END,
    'due', (
      SELECT count(*)
      FROM jobs j
      WHERE j.queue = p_queue AND j.priority IN (0, 1, 2, 3) AND j.status = 'pending' AND j.run_at <= p_now
    ),
    'running', (SELECT count(*) FROM jobs j WHERE j.queue = p_queue AND j.status = 'processing')
  );
END
$$""",
    ),
    Change(
        "functions/queue_room",
        None,
        r"""-- Promises: how many more jobs of a queue may run: none while it is paused, NULL where nothing limits it. Where something
-- does, only one caller at a time is told; another, and whoever comes while it claims, is told none, and comes again.
-- Called by claim_jobs. Locks: queue, SKIP LOCKED.
CREATE OR REPLACE FUNCTION queue_room(p_queue text, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_queue job_queues;
BEGIN
  SELECT * INTO v_queue FROM job_queues q WHERE q.name = p_queue;
  IF v_queue.paused_at IS NOT NULL AND COALESCE(v_queue.resume_at > p_now, true) THEN
    RETURN 0;
  END IF;
  IF v_queue.max_running IS NULL THEN
    RETURN NULL;
  END IF;

  PERFORM FROM job_queues q WHERE q.name = p_queue FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  RETURN v_queue.max_running - (SELECT count(*) FROM jobs j WHERE j.queue = p_queue AND j.status = 'processing');
END
$$""",
    ),
    Change(
        "functions/queue_staggers",
        None,
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
    ),
    Change(
        "functions/record_job_run",
        None,
        r"""-- Promises: it is on record that somebody was here to do what is due, since when, and what came of it so far.
-- Called by the processor when it begins and ends, and by the worker now and then. Locks: the run.
CREATE OR REPLACE FUNCTION record_job_run(
  p_instance_id text, p_caller text, p_report jsonb, p_is_over boolean, p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  INSERT INTO job_runs AS r (instance_id, caller, report, started_at, seen_at, ended_at)
  VALUES (p_instance_id, p_caller, p_report, p_now, p_now, CASE WHEN p_is_over THEN p_now END)
  ON CONFLICT (instance_id) DO UPDATE
    SET report = EXCLUDED.report, seen_at = EXCLUDED.seen_at, ended_at = EXCLUDED.ended_at;
END
$$""",
    ),
    Change(
        "functions/refresh_due_schedules",
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
    WHERE j.job_type = 'refresh_schedule' AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
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
        "functions/rescue_jobs",
        None,
        r"""-- Promises: jobs whose lease is over, since whoever ran them died or hung, wait for their next attempt, or end where those
-- are used up. Answers how many. Called by every run first; it needs no leader. Locks: jobs, SKIP LOCKED.
CREATE OR REPLACE FUNCTION rescue_jobs(p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_lost jsonb;
BEGIN
  SELECT jsonb_agg(
    jsonb_build_object(
      'id', l.id, 'lease_token', l.lease_token, 'outcome', 'lease_expired',
      'error_message', 'the lease of ' || l.leased_by || ' is over'
    )
  ) INTO v_lost
  FROM (
    SELECT j.id, j.lease_token, j.leased_by
    FROM jobs j
    WHERE j.status = 'processing' AND j.leased_until < p_now
    ORDER BY j.id
    LIMIT p_limit
    FOR NO KEY UPDATE SKIP LOCKED
  ) l;
  RETURN (SELECT count(*) FROM settle_jobs(COALESCE(v_lost, '[]'), p_now));
END
$$""",
    ),
    Change(
        "functions/resume_queue",
        None,
        r"""-- Promises: the queue is claimed from again. One that is not paused stays as it is.
-- Called by POST /v1/job-queues/{name}/resume. Locks: queue.
CREATE OR REPLACE FUNCTION resume_queue(p_actor jsonb, p_queue text, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE job_queues q
  SET paused_at = NULL, resume_at = NULL, pause_reason = NULL, updated_at = p_now
  WHERE q.name = p_queue AND q.paused_at IS NOT NULL;
  RETURN queue_json(p_queue, p_now);
END
$$""",
    ),
    Change(
        "functions/retry_delay",
        None,
        r"""-- Promises: how long to wait after that many attempts: 10 s, doubled each time, an hour at most, less up to half of it at
-- random, so that what failed together does not come back together. Called by return_job.
CREATE OR REPLACE FUNCTION retry_delay(p_attempt integer)
RETURNS interval
LANGUAGE sql
VOLATILE
RETURN LEAST(interval '10 seconds' * power(2, LEAST(p_attempt, 20) - 1), interval '1 hour') * (0.5 + 0.5 * random())""",
    ),
    Change(
        "functions/retry_job",
        None,
        r"""-- Promises: a job that ended without getting done waits to be tried once more, at once. Its attempts go on counting.
-- Called by POST /v1/jobs/{id}/retry. Locks: job. Raises: SB021 job_not_found, SB007 invalid_transition (also where another
-- of its key is pending).
CREATE OR REPLACE FUNCTION retry_job(p_actor jsonb, p_job_id uuid, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job jobs := lock_job(p_job_id);
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  BEGIN
    UPDATE jobs j
    SET status = 'pending',
        run_at = p_now,
        max_attempts = GREATEST(j.max_attempts, j.attempt + 1),
        processed_at = NULL,
        cancel_requested_at = NULL,
        updated_at = p_now
    WHERE j.id = p_job_id AND j.queue IS NOT NULL AND j.status IN ('discarded', 'skipped', 'cancelled');
    IF FOUND THEN
      RETURN get_job(p_job_id);
    END IF;
  EXCEPTION
    WHEN unique_violation THEN
      -- what was wanted is wanted again already
      NULL;
  END;
  RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
    DETAIL = json_build_object('job_id', p_job_id, 'job_type', v_job.job_type, 'from', v_job.status, 'to', 'pending');
END
$$""",
    ),
    Change(
        "functions/return_job",
        None,
        r"""-- Promises: a job that did not get done waits for its next attempt, later each time; or ends, where attempts are used up,
-- somebody asked for that, or another of its key is pending. Answers 'ok' or 'cancelled'.
-- Called by settle_jobs, which has it locked and knows that it is held.
CREATE OR REPLACE FUNCTION return_job(
  p_job_id uuid, p_outcome text, p_error_message text, p_run_at timestamptz, p_now timestamptz DEFAULT now()
)
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_job jobs := (SELECT j FROM jobs j WHERE j.id = p_job_id);
  -- given back, it was no attempt
  v_is_given_back boolean := p_outcome IN ('snoozed', 'released');
BEGIN
  IF v_job.cancel_requested_at IS NOT NULL THEN
    RETURN end_job(p_job_id, 'cancelled', p_error_message, p_now);
  ELSIF v_job.attempt >= v_job.max_attempts AND NOT v_is_given_back THEN
    PERFORM end_job(p_job_id, 'discarded', p_error_message, p_now);
    RETURN 'ok';
  END IF;

  UPDATE jobs j
  SET status = 'pending',
      leased_until = NULL,
      attempt = j.attempt - v_is_given_back::integer,
      run_at = CASE
        WHEN p_outcome = 'released' THEN j.run_at
        WHEN v_is_given_back THEN p_run_at
        ELSE GREATEST(p_run_at, p_now + retry_delay(j.attempt))
      END,
      error_message = COALESCE(left(p_error_message, 2000), j.error_message),
      updated_at = p_now
  WHERE j.id = p_job_id;
  RETURN 'ok';
EXCEPTION
  WHEN unique_violation THEN
    RETURN end_job(p_job_id, 'cancelled', 'superseded by another that is pending', p_now);
END
$$""",
    ),
    Change(
        "functions/settle_jobs",
        None,
        r"""-- Promises: each of these leased jobs becomes what its outcome says, if the caller still holds it, with what follows from
-- it, and the attempt is on record. Answers for each: ok; stale, and nothing was done; cancelled, where that was asked for
-- or another stands pending in its place. Called by the processor, the worker and rescue_jobs. Locks: jobs by id.
CREATE OR REPLACE FUNCTION settle_jobs(p_settlements jsonb, p_now timestamptz DEFAULT now())
RETURNS TABLE (job_id uuid, lease_token bigint, answer text)
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- one plan, by key: see claim_jobs
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = 'off'
AS $$
DECLARE
  v_held uuid[];
  v_tokens bigint[];
  v_cancelled uuid[] := ARRAY[]::uuid[];
  v_wish record;
BEGIN
  WITH given AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset(p_settlements) AS s (
      id uuid, lease_token bigint, outcome text, error_message text, result jsonb
    )
  ), held AS MATERIALIZED (
    SELECT g.*, j.attempt, j.leased_by, j.attempted_at
    FROM given g
    JOIN jobs j ON j.id = g.id AND j.lease_token = g.lease_token
    WHERE j.status = 'processing'
    ORDER BY j.id
    FOR NO KEY UPDATE OF j
  ), recorded AS (
    INSERT INTO job_attempts (job_id, lease_token, attempt, instance_id, outcome, error_message, started_at, ended_at)
    SELECT h.id, h.lease_token, h.attempt, h.leased_by, h.outcome, left(h.error_message, 2000), h.attempted_at, p_now
    FROM held h
  ), done AS (
    UPDATE jobs j
    SET status = CASE h.outcome WHEN 'permanent' THEN 'discarded' ELSE h.outcome END,
        leased_until = NULL,
        processed_at = p_now,
        error_message = left(h.error_message, 2000),
        result = h.result,
        updated_at = p_now
    FROM held h
    WHERE j.id = h.id AND h.outcome IN ('processed', 'skipped', 'permanent')
  )
  SELECT array_agg(h.id), array_agg(h.lease_token) INTO v_held, v_tokens FROM held h;

  -- keys that pending jobs take, in one order for everyone, lest two such calls deadlock
  FOR v_wish IN
    SELECT NULL::uuid AS id, f.*, NULL AS outcome, NULL AS error_message
    FROM jsonb_to_recordset(p_settlements) AS s (id uuid, lease_token bigint, outcome text, follow_ups jsonb)
    JOIN unnest(v_held, v_tokens) AS h (id, lease_token) ON h.id = s.id AND h.lease_token = s.lease_token
    CROSS JOIN LATERAL jsonb_to_recordset(s.follow_ups) AS f (
      dedupe_key text, job_type text, run_at timestamptz, payload jsonb, queue text, priority integer,
      max_attempts integer, booking_id uuid
    )
    WHERE s.outcome = 'processed' AND jsonb_array_length(s.follow_ups) > 0
    UNION ALL
    SELECT j.id, j.dedupe_key, j.job_type, COALESCE(s.run_at, p_now + s.after), NULL, NULL, NULL, NULL, NULL,
      s.outcome, s.error_message
    FROM jsonb_to_recordset(p_settlements) AS s (
      id uuid, lease_token bigint, outcome text, error_message text, run_at timestamptz, after interval
    )
    JOIN unnest(v_held, v_tokens) AS h (id, lease_token) ON h.id = s.id AND h.lease_token = s.lease_token
    JOIN jobs j ON j.id = s.id
    WHERE s.outcome NOT IN ('processed', 'skipped', 'permanent')
    ORDER BY dedupe_key, job_type
  LOOP
    IF v_wish.id IS NULL THEN
      PERFORM enqueue_job(
        v_wish.job_type, COALESCE(v_wish.payload, '{}'), v_wish.run_at, v_wish.dedupe_key,
        COALESCE(v_wish.queue, 'default'), COALESCE(v_wish.priority, 1), COALESCE(v_wish.max_attempts, 4),
        v_wish.booking_id, p_now
      );
    ELSIF return_job(v_wish.id, v_wish.outcome, v_wish.error_message, v_wish.run_at, p_now) = 'cancelled' THEN
      v_cancelled := v_cancelled || v_wish.id;
    END IF;
  END LOOP;

  RETURN QUERY
    SELECT
      s.id,
      s.lease_token,
      CASE WHEN h.id IS NULL THEN 'stale' WHEN s.id = ANY (v_cancelled) THEN 'cancelled' ELSE 'ok' END
    FROM jsonb_to_recordset(p_settlements) AS s (id uuid, lease_token bigint)
    LEFT JOIN unnest(v_held, v_tokens) AS h (id, lease_token) ON h.id = s.id AND h.lease_token = s.lease_token
    ORDER BY s.id;
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
    COALESCE(v_new ->> 'id', v_old ->> 'id', v_new ->> 'resource_id', v_old ->> 'resource_id', v_new ->> 'name',
      v_old ->> 'name'),
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
        "triggers/job_queues_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER job_queues_write_audit
AFTER INSERT OR UPDATE OR DELETE ON job_queues
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('job_queue')""",
    ),
    Change(
        "triggers/jobs_guard_update",
        None,
        r"""-- The steps themselves, not a look into a table: this condition is tested for every step of every job.
CREATE OR REPLACE TRIGGER jobs_guard_update
BEFORE UPDATE OF status, lease_token ON jobs
FOR EACH ROW
WHEN (
  OLD.status <> NEW.status AND (OLD.status || ' ' || NEW.status) NOT IN (
    'pending processing', 'pending processed', 'pending skipped', 'pending cancelled',
    'processing processed', 'processing skipped', 'processing pending', 'processing discarded', 'processing cancelled',
    'discarded pending', 'skipped pending', 'cancelled pending'
  )
  OR NEW.lease_token <> OLD.lease_token + (OLD.status = 'pending' AND NEW.status = 'processing')::integer
)
EXECUTE FUNCTION jobs_guard_update()""",
    ),
    Change(
        "triggers/jobs_refuse_delete",
        None,
        r"""-- What is still to be done cannot be forgotten: it is cancelled first, which leaves a trace.
CREATE OR REPLACE TRIGGER jobs_refuse_delete
BEFORE DELETE ON jobs
FOR EACH ROW
WHEN (OLD.status IN ('pending', 'processing'))
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/jobs_write_audit",
        None,
        r"""-- What a person does to a job; what becomes of it by itself is in job_attempts.
CREATE OR REPLACE TRIGGER jobs_write_audit
AFTER UPDATE OF status, cancel_requested_at ON jobs
FOR EACH ROW
WHEN (
  OLD.cancel_requested_at IS NULL AND NEW.cancel_requested_at IS NOT NULL
  OR OLD.status IN ('discarded', 'skipped', 'cancelled') AND NEW.status = 'pending'
)
EXECUTE FUNCTION write_audit_log('job', 'payload', 'result', 'error_message')""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
