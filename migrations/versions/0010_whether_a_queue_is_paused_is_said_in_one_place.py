"""whether a queue is paused is said in one place.

Revision ID: 0010
Revises: 0009
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

CHANGES = [
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
    ),
    Change(
        "functions/next_job_due_in",
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
      WHERE NOT EXISTS (SELECT FROM job_queues x WHERE x.name = q.name AND queue_is_paused(x, p_now))
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
        "functions/queue_is_paused",
        None,
        r"""-- Promises: whether nobody may claim from the queue: paused, and not until a time that has come. No for one nobody has set.
-- Called by queue_room, queue_json and next_job_due_in. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION queue_is_paused(p_queue job_queues, p_now timestamptz)
RETURNS boolean
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN (p_queue).paused_at IS NOT NULL AND COALESCE((p_queue).resume_at > p_now, true)""",
    ),
    Change(
        "functions/queue_json",
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
  v_is_paused := queue_is_paused(v_queue, p_now);
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
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
