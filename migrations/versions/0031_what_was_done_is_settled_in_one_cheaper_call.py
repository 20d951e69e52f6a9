"""What was done is settled in one cheaper call.

Revision ID: 0031
Revises: 0030
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/complete_jobs",
        None,
        r"""-- Promises: each of these leased jobs that the caller still holds is processed, with nothing to say and nothing to follow,
-- as settle_jobs would do it at twice the price. Answers the leases that were lost. Called by the processor and the worker.
-- Locks: jobs by id.
CREATE OR REPLACE FUNCTION complete_jobs(p_job_ids uuid[], p_lease_tokens bigint[], p_now timestamptz DEFAULT now())
RETURNS TABLE (job_id uuid, lease_token bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- one plan, by key: see claim_jobs
SET plan_cache_mode = 'force_generic_plan'
SET enable_seqscan = 'off'
SET enable_hashjoin = 'off'
SET enable_mergejoin = 'off'
AS $$
DECLARE
  v_ids uuid[];
  v_tokens bigint[];
BEGIN
  WITH completed AS (
    UPDATE jobs j
    SET status = 'processed', leased_until = NULL, processed_at = p_now, error_message = NULL, result = NULL,
        updated_at = p_now
    FROM (SELECT * FROM unnest(p_job_ids, p_lease_tokens) AS u (id, token) ORDER BY u.id) g
    -- what is processing has a lease; asked for its status, all that is would be read, if statistics say that it is little
    WHERE j.id = g.id AND j.lease_token = g.token AND j.leased_until IS NOT NULL
    RETURNING j.id, j.lease_token
  )
  SELECT array_agg(c.id), array_agg(c.lease_token) INTO v_ids, v_tokens FROM completed c;

  IF cardinality(v_ids) IS DISTINCT FROM cardinality(p_job_ids) THEN
    RETURN QUERY SELECT * FROM unnest(p_job_ids, p_lease_tokens) EXCEPT SELECT * FROM unnest(v_ids, v_tokens);
  END IF;
END
$$""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
