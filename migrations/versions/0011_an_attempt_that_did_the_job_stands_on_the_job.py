"""an attempt that did the job stands on the job.

Revision ID: 0011
Revises: 0010
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/get_job",
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
        r"""-- Promises: one job with each attempt that has ended, oldest first; the one that did the job is told by the job itself.
-- Called by GET /v1/jobs/{id}, cancel_job and retry_job.
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
      FROM (
        SELECT o.attempt, o.instance_id, o.outcome, o.error_message, o.started_at, o.ended_at, o.lease_token
        FROM job_attempts o
        WHERE o.job_id = p_job_id
        UNION ALL
        SELECT v_job.attempt, v_job.leased_by, v_job.status, v_job.error_message, v_job.attempted_at, v_job.processed_at,
          v_job.lease_token
        WHERE v_job.status = 'processed' AND v_job.attempt > 0
      ) a
    )
  );
END
$$""",
    ),
    Change(
        "functions/job_stats",
        r"""-- Promises: what a person asks of the jobs: how many of each type and status, how late they start, what is stuck, how the
-- queues stand, and when somebody last came to do them. Called by GET /v1/jobs/stats, GET /metrics and `holdfast jobs`.
-- Counts every job there is; lateness is that of first attempts of the last hour.
CREATE OR REPLACE FUNCTION job_stats(p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due record := due_jobs(p_now);
BEGIN
  RETURN json_build_object(
    'counts', (
      SELECT COALESCE(json_agg(c ORDER BY c.job_type, c.status), '[]')
      FROM (SELECT j.job_type, j.status, count(*) AS count FROM jobs j GROUP BY j.job_type, j.status) c
    ),
    'due', v_due.remaining_due,
    'oldest_due_age_ms', v_due.oldest_due_age_ms,
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
        r"""-- Promises: what a person asks of the jobs: how many of each type and status, how late they start, what is stuck, how the
-- queues stand, and when somebody last came to do them. Called by GET /v1/jobs/stats, GET /metrics and `holdfast jobs`.
-- Counts every job there is; lateness is that of first attempts of the last hour.
CREATE OR REPLACE FUNCTION job_stats(p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due record;
BEGIN
  SELECT * INTO v_due FROM due_jobs(p_now);
  RETURN json_build_object(
    'counts', (
      SELECT COALESCE(json_agg(c ORDER BY c.job_type, c.status), '[]')
      FROM (SELECT j.job_type, j.status, count(*) AS count FROM jobs j GROUP BY j.job_type, j.status) c
    ),
    'due', v_due.remaining_due,
    'oldest_due_age_ms', v_due.oldest_due_age_ms,
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
        "functions/list_jobs",
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
        r"""-- Promises: one page of the jobs that pass every filter, in order of creation, which is that of their ids, and the next
-- page's cursor. Called by GET /v1/jobs. Planned anew each time: which filters are given decides which index serves.
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
    WHERE j.id > v_after.id
      AND (p_status IS NULL OR j.status = p_status)
      AND (p_job_type IS NULL OR j.job_type = p_job_type)
      AND (p_queue IS NULL OR j.queue = p_queue)
      AND (p_booking_id IS NULL OR j.booking_id = p_booking_id)
    ORDER BY j.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE((SELECT json_agg(job_json(j) ORDER BY j.id) FROM unnest(v_page[:p_limit]) j), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/queue_room",
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
  IF queue_is_paused(v_queue, p_now) THEN
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
  IF queue_is_paused(v_queue, p_now) THEN
    RETURN 0;
  END IF;
  IF v_queue.max_running IS NULL THEN
    RETURN NULL;
  END IF;

  -- as it is by now
  SELECT * INTO v_queue FROM job_queues q WHERE q.name = p_queue FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND OR queue_is_paused(v_queue, p_now) THEN
    RETURN 0;
  END IF;
  RETURN v_queue.max_running - (SELECT count(*) FROM jobs j WHERE j.queue = p_queue AND j.status = 'processing');
END
$$""",
    ),
    Change(
        "functions/settle_jobs",
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
  v_ids uuid[];
  v_tokens bigint[];
  v_held boolean[];
  v_wishes jsonb;
  v_cancelled uuid[] := ARRAY[]::uuid[];
  v_wish record;
BEGIN
  WITH given AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset(p_settlements) AS s (
      id uuid, lease_token bigint, outcome text, error_message text, result jsonb, run_at timestamptz, after interval,
      follow_ups jsonb
    )
  ), held AS MATERIALIZED (
    SELECT g.*, j.attempt, j.leased_by, j.attempted_at, j.dedupe_key, j.job_type
    FROM given g
    JOIN jobs j ON j.id = g.id AND j.lease_token = g.lease_token
    WHERE j.status = 'processing'
    ORDER BY j.id
    FOR NO KEY UPDATE OF j
  ), recorded AS (
    INSERT INTO job_attempts (job_id, lease_token, attempt, instance_id, outcome, error_message, started_at, ended_at)
    SELECT h.id, h.lease_token, h.attempt, h.leased_by, h.outcome, left(h.error_message, 2000), h.attempted_at, p_now
    FROM held h
    -- one that did the job stands on the job
    WHERE h.outcome <> 'processed'
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
  SELECT
    array_agg(g.id),
    array_agg(g.lease_token),
    array_agg(h.id IS NOT NULL),
    jsonb_agg(h) FILTER (WHERE h.outcome NOT IN ('processed', 'skipped', 'permanent') OR h.follow_ups IS NOT NULL)
  INTO v_ids, v_tokens, v_held, v_wishes
  FROM given g
  LEFT JOIN held h USING (id, lease_token);

  -- keys that pending jobs take, in one order for everyone, lest two such calls deadlock
  FOR v_wish IN
    SELECT NULL::uuid AS id, f.*, NULL AS outcome, NULL AS error_message
    FROM jsonb_to_recordset(v_wishes) AS w (outcome text, follow_ups jsonb)
    CROSS JOIN LATERAL jsonb_to_recordset(w.follow_ups) AS f (
      dedupe_key text, job_type text, run_at timestamptz, payload jsonb, queue text, priority integer,
      max_attempts integer, booking_id uuid
    )
    WHERE w.outcome = 'processed'
    UNION ALL
    SELECT w.id, w.dedupe_key, w.job_type, COALESCE(w.run_at, p_now + w.after), NULL, NULL, NULL, NULL, NULL,
      w.outcome, w.error_message
    FROM jsonb_to_recordset(v_wishes) AS w (
      id uuid, outcome text, error_message text, run_at timestamptz, after interval, dedupe_key text, job_type text
    )
    WHERE w.outcome NOT IN ('processed', 'skipped', 'permanent')
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
      CASE WHEN NOT s.is_held THEN 'stale' WHEN s.id = ANY (v_cancelled) THEN 'cancelled' ELSE 'ok' END
    FROM unnest(v_ids, v_tokens, v_held) AS s (id, lease_token, is_held)
    ORDER BY s.id;
END
$$""",
    ),
    Change(
        "functions/time_ordered_uuid",
        None,
        r"""-- Promises: a UUID that sorts by the moment it was made, to the microsecond (RFC 9562, version 7 with the fraction of the
-- millisecond in rand_a), so that a table's key grows at its end. Called as the default of jobs.id.
CREATE OR REPLACE FUNCTION time_ordered_uuid(p_now timestamptz DEFAULT clock_timestamp())
RETURNS uuid
LANGUAGE sql
VOLATILE PARALLEL SAFE
RETURN (
  SELECT encode(
    int8send((t.us / 1000) << 16 | 28672 | t.us % 1000 * 4096 / 1000) || substring(uuid_send(gen_random_uuid()) FROM 9),
    'hex'
  )::uuid
  FROM (SELECT (extract(epoch FROM p_now) * 1000000)::bigint AS us) t
)""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
