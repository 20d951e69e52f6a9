"""The audit trail has a partition for each month, which goes on record; and addresses in it are forgotten.

Revision ID: 0036
Revises: 0035
"""

from alembic import op

from migrations import frozen
from migrations.frozen import Change

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

# Those that take the row's type, and the triggers, belong to the old table. They are in CHANGES, changed or not, and so is
# whatever has a variable of that type: a session that had compiled it would go on with the old one.
LEAVE_THE_TABLE = (
    "DROP TRIGGER audit_log_chain ON audit_log",
    "DROP TRIGGER audit_log_deliver_event ON audit_log",
    "DROP TRIGGER audit_log_guard_update ON audit_log",
    "DROP TRIGGER audit_log_make_messages ON audit_log",
    "DROP TRIGGER audit_log_refuse_change ON audit_log",
    "DROP FUNCTION audit_hash(audit_log)",
    "DROP FUNCTION erased_audit_entry(audit_log, boolean)",
    "DROP FUNCTION event_json(audit_log, text)",
)

# All of it waits for nobody but who is writing: what takes long was done before.
BECOME_A_PARTITION = """
DO $$
DECLARE
  v_bound timestamptz := (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months') AT TIME ZONE 'UTC';
  v_old text := to_char(v_bound AT TIME ZONE 'UTC', '"audit_log_before_"YYYY_MM');
  v_last bigint;
  v_is_called boolean;
  v_right record;
BEGIN
  SELECT s.last_value, s.is_called INTO v_last, v_is_called FROM audit_log_id_seq s;
  ALTER TABLE audit_log ALTER id DROP IDENTITY;
  EXECUTE format('ALTER TABLE audit_log RENAME TO %I', v_old);
  EXECUTE format(
    'CREATE TABLE audit_log (LIKE %I INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE (created_at)', v_old
  );
  ALTER TABLE audit_log DROP CONSTRAINT audit_log_bound_check;
  ALTER TABLE audit_log ALTER id ADD GENERATED ALWAYS AS IDENTITY;
  PERFORM setval(pg_get_serial_sequence('audit_log', 'id'), v_last, v_is_called);
  EXECUTE format('ALTER TABLE audit_log ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', v_old, v_bound);
  EXECUTE format('ALTER TABLE %I DROP CONSTRAINT audit_log_bound_check', v_old);
  EXECUTE format(
    'CREATE TRIGGER audit_log_refuse_change BEFORE DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
    v_old
  );
  PERFORM add_audit_partition('audit_log_default', v_old, 'DEFAULT');
  -- who might read the table may read it still; the partitions are nobody's but the owner's
  FOR v_right IN
    SELECT a.privilege_type AS may, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who
    FROM pg_class c
    CROSS JOIN LATERAL aclexplode(c.relacl) a
    WHERE c.oid = v_old::regclass AND a.grantee <> c.relowner
  LOOP
    EXECUTE format('GRANT %s ON audit_log TO %s', v_right.may, v_right.who);
  END LOOP;
END
$$
"""

BECOME_ONE_TABLE = """
DO $$
DECLARE
  v_old text := (
    SELECT c.conrelid::regclass FROM pg_constraint c WHERE c.conname = 'audit_log_pkey' AND c.connamespace = current_schema()::regnamespace
  );
  v_last bigint;
  v_is_called boolean;
BEGIN
  SELECT s.last_value, s.is_called INTO v_last, v_is_called FROM audit_log_id_seq s;
  IF v_old IS NULL THEN
    -- it went with the months it held
    v_old := 'audit_log_again';
    CREATE TABLE audit_log_again (LIKE audit_log_default INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY);
    ALTER TABLE audit_log_again ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);
    CREATE UNIQUE INDEX audit_log_position_key ON audit_log_again (subject_type, subject_id, position);
    CREATE INDEX audit_log_unchained_idx ON audit_log_again (id) WHERE position IS NULL;
    CREATE INDEX audit_log_xid_id_idx ON audit_log_again (xid, id) WHERE xid IS NOT NULL;
    CREATE INDEX audit_log_request_id_idx ON audit_log_again USING hash (request_id);
    CREATE INDEX audit_log_performed_by_id_idx ON audit_log_again (performed_by_id) WHERE performed_by_id LIKE 'customer:%';
    CREATE INDEX audit_log_credentials_idx ON audit_log_again ((COALESCE(new_values, old_values) ->> 'customer_id'))
      WHERE subject_type = 'credentials';
    CREATE INDEX audit_log_address_idx ON audit_log_again (created_at) WHERE address_salt IS NOT NULL;
  ELSE
    EXECUTE format('ALTER TABLE audit_log DETACH PARTITION %I', v_old);
    EXECUTE format('DROP TRIGGER audit_log_refuse_change ON %I', v_old);
  END IF;
  EXECUTE format('INSERT INTO %I SELECT * FROM audit_log', v_old);
  DROP TABLE audit_log;
  EXECUTE format('ALTER TABLE %I RENAME TO audit_log', v_old);
  ALTER TABLE audit_log ALTER id ADD GENERATED ALWAYS AS IDENTITY;
  PERFORM setval(pg_get_serial_sequence('audit_log', 'id'), v_last, v_is_called);
  EXECUTE format(
    'ALTER TABLE audit_log ADD CONSTRAINT audit_log_bound_check CHECK (created_at < %L) NOT VALID',
    (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months') AT TIME ZONE 'UTC'
  );
END
$$
"""

CHANGES = [
    Change(
        "functions/add_audit_partition",
        None,
        r"""-- Promises: the audit trail has one more partition, empty, with all that another one has. Called by make_audit_partitions.
-- Locks: the trail against other changes of its shape; the partition for what no other takes, for an instant.
CREATE OR REPLACE FUNCTION add_audit_partition(p_name text, p_like text, p_bound text)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  -- attached afterwards, for CREATE TABLE … PARTITION OF would lock everybody out
  EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING IDENTITY)', p_name, p_like);
  -- a trigger for statements fires for the table that they name
  EXECUTE format(
    'CREATE TRIGGER audit_log_refuse_change BEFORE DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
    p_name
  );
  EXECUTE format('ALTER TABLE audit_log ATTACH PARTITION %I %s', p_name, p_bound);
END
$$""",
    ),
    Change(
        "functions/audit_action",
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
        r"""-- Promises: the word for what happened to a row, from its state before and after: created, deleted, the status it
-- took, resumed, rescheduled, reminded, responded, or modified. Called by write_audit_log; the events of webhooks and streams use the same words.
CREATE OR REPLACE FUNCTION audit_action(p_old jsonb, p_new jsonb)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN p_old IS NULL THEN 'created'
  WHEN p_new IS NULL THEN 'deleted'
  WHEN p_old ->> 'status' = 'paused' AND p_new ->> 'status' = 'running' THEN 'resumed'
  WHEN p_old ->> 'status' <> p_new ->> 'status' THEN p_new ->> 'status'
  WHEN p_old ->> 'slot_id' <> p_new ->> 'slot_id' THEN 'rescheduled'
  WHEN p_old ->> 'reminded_at' IS DISTINCT FROM p_new ->> 'reminded_at' THEN 'reminded'
  WHEN p_old ->> 'responses' <> p_new ->> 'responses' THEN 'responded'
  ELSE 'modified'
END""",
    ),
    Change(
        "functions/audit_address_hash",
        None,
        r"""-- Promises: what the hash of an audit row is made of in place of an address and a user agent, so that it stays true when these
-- are forgotten: their salted SHA-256, which nobody undoes by trying all addresses. Null for rows from before salts, of which
-- they themselves are hashed. Called by audit_hash and forgotten_audit_entry.
CREATE OR REPLACE FUNCTION audit_address_hash(p_entry audit_log)
RETURNS bytea
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN CASE
  WHEN p_entry.address_salt IS NULL THEN p_entry.address_hash
  ELSE sha256(p_entry.address_salt
    || convert_to(json_build_array(text(p_entry.ip_address), p_entry.user_agent)::text, 'UTF8'))
END""",
    ),
    Change(
        "functions/audit_chain_end",
        None,
        r"""-- Promises: the position and the hash of a subject's last audit row; position 0 where there is none, null while some are not
-- chained. Called by audit_log_chain. While the ends of chains from before `audit_chains` are still being noted, which
-- `audit_backfill` says, it notes this one.
CREATE OR REPLACE FUNCTION audit_chain_end(p_subject_type text, p_subject_id text, OUT last_position integer, OUT last_hash bytea)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  LOOP
    SELECT c.position, c.hash INTO last_position, last_hash
    FROM audit_chains c
    WHERE c.subject_type = p_subject_type AND c.subject_id = p_subject_id;
    EXIT WHEN FOUND;
    last_position := 0;
    EXIT WHEN NOT EXISTS (SELECT FROM audit_backfill);

    -- what is not chained comes first
    SELECT a.position, a.hash INTO last_position, last_hash
    FROM audit_log a
    WHERE a.subject_type = p_subject_type AND a.subject_id = p_subject_id
    ORDER BY a.position DESC
    LIMIT 1;
    IF NOT FOUND THEN
      last_position := 0;
      EXIT;
    END IF;
    EXIT WHEN last_position IS NULL;
    INSERT INTO audit_chains (subject_type, subject_id, position, hash)
    VALUES (p_subject_type, p_subject_id, last_position, last_hash)
    ON CONFLICT DO NOTHING;
  END LOOP;
END
$$""",
    ),
    Change(
        "functions/audit_chain_faults",
        r"""-- Promises: every audit row that is not where and what its chain says: `changed`; `reordered`, chained to a row that stands
-- elsewhere; `missing`, with gaps before it; `inserted`, in a place that is taken; `replaced`, not what the next one was
-- chained to; `unchained`. A row that an erasure emptied is as that one says. Called by verify_audit_log. A pass over the
-- table in the order of its index, some bytes a row.
CREATE OR REPLACE FUNCTION audit_chain_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    WITH emptied AS MATERIALIZED (
      SELECT DISTINCT ON (m.id) m.id::bigint AS id, m.content
      FROM audit_log e
      CROSS JOIN LATERAL jsonb_each_text(e.new_values -> 'emptied') AS m (id, content)
      WHERE e.event = 'customer.erased'
      ORDER BY m.id, e.id DESC
    )
    SELECT l.subject_type, l.subject_id, f.audit_id, f.fault
    FROM (
      SELECT e.*, lag(e.id) OVER w AS prev_id, lag(e.position) OVER w AS prev_position, lag(e.hash) OVER w AS last_hash
      FROM (
        SELECT a.subject_type, a.subject_id, a.id, a.position, a.prev_hash, a.hash,
          a.hash = audit_hash(a) OR m.content IS NOT DISTINCT FROM encode(audit_hash(a), 'hex') AS is_true
        FROM audit_log a
        LEFT JOIN emptied m USING (id)
        -- or whole rows would go through the sort
        OFFSET 0
      ) e
      WINDOW w AS (PARTITION BY e.subject_type, e.subject_id ORDER BY e.position, e.id)
    ) l
    CROSS JOIN LATERAL (
      VALUES
        (l.id, CASE
          WHEN l.position IS NULL OR l.hash IS NULL THEN 'unchained'
          WHEN l.is_true THEN NULL
          WHEN EXISTS (
            SELECT FROM audit_log o
            WHERE o.subject_type = l.subject_type AND o.subject_id = l.subject_id AND o.hash = l.prev_hash
              AND o.position <> l.position - 1
          ) OR l.position > 1 AND l.prev_hash IS NULL THEN 'reordered'
          ELSE 'changed'
        END),
        (l.id, CASE
          WHEN l.position < 1 OR l.position = l.prev_position THEN 'inserted'
          WHEN l.position > COALESCE(l.prev_position, 0) + 1 THEN 'missing'
        END),
        (COALESCE(l.prev_id, l.id), CASE
          WHEN l.position = COALESCE(l.prev_position, 0) + 1 AND l.prev_hash IS DISTINCT FROM l.last_hash THEN 'replaced'
        END)
    ) AS f (audit_id, fault)
    WHERE f.fault IS NOT NULL;
END
$$""",
        r"""-- Promises: every audit row that is not where and what its chain says: `changed`; `reordered`, chained to a row that stands
-- elsewhere; `missing`, with gaps before it; `inserted`, in a place that is taken; `replaced`, not what the next one was
-- chained to; `unchained`. A row that an erasure emptied is as that one says; rows that went with their month are one link, as
-- was noted. Called by verify_audit_log. A pass over the table in the order of its index, some bytes a row.
CREATE OR REPLACE FUNCTION audit_chain_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    WITH emptied AS MATERIALIZED (
      SELECT DISTINCT ON (m.id) m.id::bigint AS id, m.content
      FROM audit_log e
      CROSS JOIN LATERAL jsonb_each_text(e.new_values -> 'emptied') AS m (id, content)
      WHERE e.event = 'customer.erased'
      ORDER BY m.id, e.id DESC
    )
    SELECT l.subject_type, l.subject_id, f.audit_id, f.fault
    FROM (
      SELECT e.*, lag(e.id) OVER w AS prev_id, lag(e.position) OVER w AS prev_position, lag(e.hash) OVER w AS last_hash
      FROM (
        SELECT * FROM (
          SELECT a.subject_type, a.subject_id, a.id, a.position AS first_position, a.position, a.prev_hash, a.hash,
            a.hash = audit_hash(a) OR m.content IS NOT DISTINCT FROM encode(audit_hash(a), 'hex') AS is_true
          FROM audit_log a
          LEFT JOIN emptied m USING (id)
          -- or whole rows would go through the sort
          OFFSET 0
        ) a
        UNION ALL
        SELECT d.subject_type, d.subject_id, NULL, d.first_position, d.last_position, d.prev_hash, d.hash, true
        FROM audit_dropped d
        WHERE d.number <= (last_audit_drop() ->> 'number')::integer
      ) e
      WINDOW w AS (PARTITION BY e.subject_type, e.subject_id ORDER BY e.position, e.id)
    ) l
    CROSS JOIN LATERAL (
      VALUES
        (l.id, CASE
          WHEN l.position IS NULL OR l.hash IS NULL THEN 'unchained'
          WHEN l.is_true THEN NULL
          WHEN EXISTS (
            SELECT FROM audit_log o
            WHERE o.subject_type = l.subject_type AND o.subject_id = l.subject_id AND o.hash = l.prev_hash
              AND o.position <> l.position - 1
          ) OR l.position > 1 AND l.prev_hash IS NULL THEN 'reordered'
          ELSE 'changed'
        END),
        (l.id, CASE
          WHEN l.first_position < 1 OR l.first_position <= l.prev_position THEN 'inserted'
          WHEN l.first_position > COALESCE(l.prev_position, 0) + 1 THEN 'missing'
        END),
        (COALESCE(l.prev_id, l.id), CASE
          WHEN l.first_position = COALESCE(l.prev_position, 0) + 1 AND l.prev_hash IS DISTINCT FROM l.last_hash THEN 'replaced'
        END)
    ) AS f (audit_id, fault)
    WHERE f.fault IS NOT NULL;
END
$$""",
    ),
    Change(
        "functions/audit_checkpoint_faults",
        r"""-- Promises: every difference between the checkpoints and the trail: a head that is `missing` or `replaced`, a row `inserted`
-- below the newest checkpoint, a checkpoint that is `changed` against its heads or `missing`. Called by verify_audit_log.
CREATE OR REPLACE FUNCTION audit_checkpoint_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT h.subject_type, h.subject_id, a.id, CASE WHEN a.id IS NULL THEN 'missing' ELSE 'replaced' END
    FROM audit_heads h
    LEFT JOIN audit_log a USING (subject_type, subject_id, position)
    WHERE a.hash IS DISTINCT FROM h.hash
    UNION ALL
    SELECT a.subject_type, a.subject_id, a.id, 'inserted'
    FROM audit_log a
    LEFT JOIN (
      SELECT x.subject_type, x.subject_id, max(x.position) AS position FROM audit_heads x GROUP BY 1, 2
    ) h USING (subject_type, subject_id)
    WHERE a.id <= (SELECT max(c.up_to) FROM audit_checkpoints c) AND a.position > COALESCE(h.position, 0)
    UNION ALL
    SELECT 'checkpoint', c.number::text, NULL, 'changed'
    FROM (SELECT x.*, x.statement::jsonb AS states, lag(x.digest) OVER (ORDER BY x.number) AS previous FROM audit_checkpoints x) c
    WHERE (c.states ->> 'number', c.states ->> 'up_to', c.states ->> 'digest')
        IS DISTINCT FROM (c.number::text, c.up_to::text, c.digest)
      OR c.states ->> 'previous' IS DISTINCT FROM c.previous
      OR c.digest <> audit_digest(c.previous, ARRAY(SELECT h FROM audit_heads h WHERE h.checkpoint = c.number))
    UNION ALL
    SELECT 'checkpoint', n::text, NULL, 'missing'
    FROM generate_series(1, (SELECT max(c.number) FROM audit_checkpoints c)) n
    WHERE NOT EXISTS (SELECT FROM audit_checkpoints c WHERE c.number = n);
END
$$""",
        r"""-- Promises: every difference between the checkpoints and the trail: a head that is `missing` or `replaced`, a row `inserted`
-- below the newest checkpoint, a checkpoint that is `changed` against its heads or `missing`. A head that went with its month is
-- as was noted, and no younger than what was dropped. Called by verify_audit_log.
CREATE OR REPLACE FUNCTION audit_checkpoint_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_last_drop jsonb := last_audit_drop();
BEGIN
  RETURN QUERY
    SELECT h.subject_type, h.subject_id, a.id, CASE WHEN a.id IS NULL AND d.number IS NULL THEN 'missing' ELSE 'replaced' END
    FROM audit_heads h
    JOIN (
      SELECT x.number, lag(x.statement::jsonb ->> 'made_at') OVER (ORDER BY x.number)::timestamptz AS after FROM audit_checkpoints x
    ) c ON c.number = h.checkpoint
    LEFT JOIN audit_log a USING (subject_type, subject_id, position)
    LEFT JOIN audit_dropped d
      ON a.id IS NULL AND d.subject_type = h.subject_type AND d.subject_id = h.subject_id
        AND h.position BETWEEN d.first_position AND d.last_position AND d.number <= (v_last_drop ->> 'number')::integer
        AND (c.after IS NULL OR c.after < (v_last_drop ->> 'before')::timestamptz)
    WHERE CASE
      WHEN a.id IS NOT NULL THEN a.hash IS DISTINCT FROM h.hash
      ELSE d.number IS NULL OR h.position = d.last_position AND d.hash <> h.hash
    END
    UNION ALL
    SELECT a.subject_type, a.subject_id, a.id, 'inserted'
    FROM audit_log a
    LEFT JOIN (
      SELECT x.subject_type, x.subject_id, max(x.position) AS position FROM audit_heads x GROUP BY 1, 2
    ) h USING (subject_type, subject_id)
    WHERE a.id <= (SELECT max(c.up_to) FROM audit_checkpoints c) AND a.position > COALESCE(h.position, 0)
    UNION ALL
    SELECT 'checkpoint', c.number::text, NULL, 'changed'
    FROM (SELECT x.*, x.statement::jsonb AS states, lag(x.digest) OVER (ORDER BY x.number) AS previous FROM audit_checkpoints x) c
    WHERE (c.states ->> 'number', c.states ->> 'up_to', c.states ->> 'digest')
        IS DISTINCT FROM (c.number::text, c.up_to::text, c.digest)
      OR c.states ->> 'previous' IS DISTINCT FROM c.previous
      OR c.digest <> audit_digest(c.previous, ARRAY(SELECT h FROM audit_heads h WHERE h.checkpoint = c.number))
    UNION ALL
    SELECT 'checkpoint', n::text, NULL, 'missing'
    FROM generate_series(1, (SELECT max(c.number) FROM audit_checkpoints c)) n
    WHERE NOT EXISTS (SELECT FROM audit_checkpoints c WHERE c.number = n);
END
$$""",
    ),
    Change(
        "functions/audit_drop_faults",
        None,
        r"""-- Promises: what is noted of months that were dropped and is not what the newest entry vouches for: `changed`. Called by
-- verify_audit_log.
CREATE OR REPLACE FUNCTION audit_drop_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_last jsonb := last_audit_drop();
BEGIN
  IF v_last ->> 'digest' <> dropped_audit_digest((v_last ->> 'number')::integer) THEN
    RETURN QUERY SELECT 'audit_log', 'dropped', NULL::bigint, 'changed';
  END IF;
END
$$""",
    ),
    Change(
        "functions/audit_end_faults",
        None,
        r"""-- Promises: every chain that does not end where `audit_chains` says: `missing`, for rows are gone at its end or nobody knows
-- where it ends; `inserted`, for there are more; `replaced`. Not in it: chains with rows that wait to be chained. Called by
-- verify_audit_log.
CREATE OR REPLACE FUNCTION audit_end_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_is_noted boolean := NOT EXISTS (SELECT FROM audit_backfill);
BEGIN
  RETURN QUERY
    SELECT e.*
    FROM (
      SELECT COALESCE(c.subject_type, l.subject_type), COALESCE(c.subject_id, l.subject_id), l.id, CASE
        WHEN c.position IS NULL AND v_is_noted OR c.position > COALESCE(l.position, 0) THEN 'missing'
        WHEN c.position < l.position THEN 'inserted'
        WHEN c.hash <> l.hash THEN 'replaced'
      END
      FROM audit_chains c
      FULL JOIN (
        SELECT DISTINCT ON (x.subject_type, x.subject_id) x.*
        FROM (
          SELECT a.subject_type, a.subject_id, a.id, a.position, a.hash FROM audit_log a
          UNION ALL
          SELECT d.subject_type, d.subject_id, NULL, d.last_position, d.hash
          FROM audit_dropped d
          WHERE d.number <= (last_audit_drop() ->> 'number')::integer
        ) x
        ORDER BY x.subject_type, x.subject_id, x.position DESC, x.id DESC
      ) l USING (subject_type, subject_id)
      WHERE l.id IS NULL OR l.position IS NOT NULL
    ) e (subject_type, subject_id, audit_id, fault)
    WHERE e.fault IS NOT NULL;
END
$$""",
    ),
    Change(
        "functions/audit_entries_under_hold",
        None,
        r"""-- Promises: the audit rows of a time that are of customers under a legal hold, or were written by them: neither retention takes
-- anything of them away. Called by drop_audit_month and forget_audit_addresses.
CREATE OR REPLACE FUNCTION audit_entries_under_hold(p_from timestamptz, p_to timestamptz)
RETURNS SETOF bigint
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT a.id
    FROM customers c
    CROSS JOIN LATERAL customer_audit_entries(c.id) o (id)
    JOIN audit_log a ON a.id = o.id
    WHERE c.legal_hold_since IS NOT NULL AND a.created_at >= p_from AND a.created_at < p_to
    UNION ALL
    SELECT a.id
    FROM customers c
    JOIN audit_log a ON a.performed_by_id LIKE 'customer:%' AND a.performed_by_id = 'customer:' || c.ref
    WHERE c.legal_hold_since IS NOT NULL AND a.created_at >= p_from AND a.created_at < p_to;
END
$$""",
    ),
    Change(
        "functions/audit_hash",
        r"""-- Promises: the SHA-256 of an audit row in its place in the chain of its subject, the same in every session and on every
-- version of Postgres: times are microseconds, addresses text, states jsonb, and null is not ''. Called by audit_log_chain,
-- audit_log_guard_update, backfill_audit_chain and audit_chain_faults.
-- Not in it: `xid`, which whoever restores a dump elsewhere has to empty.
CREATE OR REPLACE FUNCTION audit_hash(p_entry audit_log)
RETURNS bytea
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN sha256(convert_to(json_build_array(
  p_entry.position, encode(p_entry.prev_hash, 'hex'), p_entry.id, p_entry.subject_type, p_entry.subject_id,
  p_entry.event, p_entry.action_type, p_entry.old_values, p_entry.new_values, to_jsonb(p_entry.hidden_changes),
  p_entry.performed_by, p_entry.performed_by_id, text(p_entry.ip_address), p_entry.user_agent, p_entry.reason,
  p_entry.request_id, (extract(epoch FROM p_entry.created_at) * 1000000)::bigint
)::text, 'UTF8'))""",
        r"""-- Promises: the SHA-256 of an audit row in its place in the chain of its subject, the same in every session and on every
-- version of Postgres: times are microseconds, addresses text, states jsonb, and null is not ''. Called by audit_log_chain,
-- audit_log_guard_update, backfill_audit_chain and audit_chain_faults.
-- Not in it: `xid`, which whoever restores a dump elsewhere has to empty.
CREATE OR REPLACE FUNCTION audit_hash(p_entry audit_log)
RETURNS bytea
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN sha256(convert_to(json_build_array(
  p_entry.position, encode(p_entry.prev_hash, 'hex'), p_entry.id, p_entry.subject_type, p_entry.subject_id,
  p_entry.event, p_entry.action_type, p_entry.old_values, p_entry.new_values, to_jsonb(p_entry.hidden_changes),
  p_entry.performed_by, p_entry.performed_by_id,
  -- no address looks like a hash: one that comes back after it was forgotten shows
  CASE
    WHEN p_entry.address_salt IS NULL AND p_entry.ip_address IS NOT NULL THEN text(p_entry.ip_address)
    ELSE encode(audit_address_hash(p_entry), 'hex')
  END,
  CASE WHEN p_entry.address_salt IS NULL THEN p_entry.user_agent END,
  p_entry.reason, p_entry.request_id, (extract(epoch FROM p_entry.created_at) * 1000000)::bigint
)::text, 'UTF8'))""",
    ),
    Change(
        "functions/audit_log_chain",
        r"""-- Promises: a new audit row, whoever writes it, stands after the last one of its subject and carries its hash. Called by trigger
-- audit_log_chain. Who writes a subject holds its row, so there is one writer; the unique index refuses any other
-- (write_audit_log comes again). While older rows of the subject are not chained, nor is this one: backfill_audit_chain does.
CREATE OR REPLACE FUNCTION audit_log_chain()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_last record;
BEGIN
  NEW.position := NULL;
  NEW.prev_hash := NULL;
  NEW.hash := NULL;
  -- what is not chained comes first
  SELECT a.position, a.hash INTO v_last
  FROM audit_log a
  WHERE a.subject_type = NEW.subject_type AND a.subject_id = NEW.subject_id
  ORDER BY a.position DESC
  LIMIT 1;
  IF NOT FOUND OR v_last.position IS NOT NULL THEN
    NEW.position := COALESCE(v_last.position, 0) + 1;
    NEW.prev_hash := v_last.hash;
    NEW.hash := audit_hash(NEW);
  END IF;
  RETURN NEW;
END
$$""",
        r"""-- Promises: a new audit row, whoever writes it, stands after the last one of its subject and carries its hash; of where from, a
-- salted hash is what its hash is made of. Called by trigger audit_log_chain. Of two writers of a subject the second waits for
-- the first. While older rows of the subject are not chained, nor is this one: backfill_audit_chain does.
-- Locks: the end of the subject's chain.
CREATE OR REPLACE FUNCTION audit_log_chain()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  -- NEW is of the partition's type, and would become one of the trail's wherever the hash asks for a column
  v_entry audit_log;
  v_last record;
  -- the first of its subject, as most are; whoever claims it falsely finds the end of the chain taken
  v_is_first boolean := NEW.action_type = 'created' AND NOT EXISTS (SELECT FROM audit_backfill);
BEGIN
  NEW.position := 1;
  NEW.prev_hash := NULL;
  NEW.address_hash := NULL;
  NEW.address_salt := CASE WHEN num_nonnulls(NEW.ip_address, NEW.user_agent) > 0 THEN uuid_send(gen_random_uuid()) END;
  v_entry := NEW;
  LOOP
    IF NOT v_is_first THEN
      SELECT * INTO v_last FROM audit_chain_end(NEW.subject_type, NEW.subject_id);
      v_entry.position := v_last.last_position + 1;
      v_entry.prev_hash := v_last.last_hash;
    END IF;
    v_entry.hash := CASE WHEN v_entry.position IS NOT NULL THEN audit_hash(v_entry) END;
    IF v_entry.position = 1 THEN
      INSERT INTO audit_chains (subject_type, subject_id, position, hash)
      VALUES (NEW.subject_type, NEW.subject_id, 1, v_entry.hash)
      ON CONFLICT DO NOTHING;
    ELSE
      UPDATE audit_chains c SET position = v_entry.position, hash = v_entry.hash
      WHERE c.subject_type = NEW.subject_type AND c.subject_id = NEW.subject_id AND c.position = v_last.last_position;
    END IF;
    EXIT WHEN FOUND OR v_entry.position IS NULL;
    v_is_first := false;
  END LOOP;
  NEW.position := v_entry.position;
  NEW.prev_hash := v_entry.prev_hash;
  NEW.hash := v_entry.hash;
  RETURN NEW;
END
$$""",
    ),
    Change(
        "functions/audit_log_guard_update",
        r"""-- Promises: of an audit row nothing changes but this: one that was not chained gets its true place in the chain; and one loses
-- its personal data, if an entry of the trail that `holdfast.erasure` names says of this row that it is so from now on.
-- Called by trigger audit_log_guard_update.
-- Raises: SB012 change_refused.
CREATE OR REPLACE FUNCTION audit_log_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_chained audit_log := OLD;
BEGIN
  v_chained.position := NEW.position;
  v_chained.prev_hash := NEW.prev_hash;
  v_chained.hash := audit_hash(NEW);
  IF OLD.position IS NULL AND NEW.position IS NOT NULL AND v_chained IS NOT DISTINCT FROM NEW THEN
    RETURN NEW;
  END IF;

  IF (NEW IS NOT DISTINCT FROM erased_audit_entry(OLD, true) OR NEW IS NOT DISTINCT FROM erased_audit_entry(OLD, false))
    AND EXISTS (
      SELECT FROM audit_log e
      WHERE e.id = NULLIF(current_setting('holdfast.erasure', true), '')::bigint AND e.event = 'customer.erased'
        AND e.new_values -> 'emptied' ->> OLD.id::text = encode(audit_hash(NEW), 'hex')
    )
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'change_refused' USING ERRCODE = 'SB012',
    DETAIL = json_build_object('table', 'audit_log', 'operation', 'update');
END
$$""",
        r"""-- Promises: of an audit row nothing changes but this: one that was not chained gets its true place in the chain; one loses
-- address and user agent, and its hash stays true; and one loses its personal data, if an entry of the trail that
-- `holdfast.erasure` names says of this row that it is so from now on. Called by trigger audit_log_guard_update.
-- Raises: SB012 change_refused.
CREATE OR REPLACE FUNCTION audit_log_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_chained audit_log := OLD;
BEGIN
  v_chained.position := NEW.position;
  v_chained.prev_hash := NEW.prev_hash;
  v_chained.hash := audit_hash(NEW);
  IF OLD.position IS NULL AND NEW.position IS NOT NULL AND v_chained IS NOT DISTINCT FROM NEW THEN
    RETURN NEW;
  END IF;

  IF OLD.address_salt IS NOT NULL AND NEW IS NOT DISTINCT FROM forgotten_audit_entry(OLD) THEN
    RETURN NEW;
  END IF;

  IF (NEW IS NOT DISTINCT FROM erased_audit_entry(OLD, true) OR NEW IS NOT DISTINCT FROM erased_audit_entry(OLD, false))
    AND EXISTS (
      SELECT FROM audit_log e
      WHERE e.id = NULLIF(current_setting('holdfast.erasure', true), '')::bigint AND e.event = 'customer.erased'
        AND e.new_values -> 'emptied' ->> OLD.id::text = encode(audit_hash(NEW), 'hex')
    )
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'change_refused' USING ERRCODE = 'SB012',
    DETAIL = json_build_object('table', 'audit_log', 'operation', 'update');
END
$$""",
    ),
    Change(
        "functions/audit_partitions",
        None,
        r"""-- Promises: the partitions of the audit trail that have an end, and from when to when each reaches. Called by
-- make_audit_partitions and drop_audit_month.
CREATE OR REPLACE FUNCTION audit_partitions()
RETURNS TABLE (name text, begins_at timestamptz, ends_at timestamptz)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET datestyle = 'ISO'
AS $$
BEGIN
  RETURN QUERY
    SELECT c.relname::text, COALESCE(substring(b.bound FROM 'FROM \(''([^'']+)''\)')::timestamptz, '-infinity'),
      substring(b.bound FROM 'TO \(''([^'']+)''\)')::timestamptz
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) AS b (bound)
    WHERE i.inhparent = 'audit_log'::regclass AND b.bound <> 'DEFAULT'
    ORDER BY 3;
END
$$""",
    ),
    Change(
        "functions/audit_subject_faults",
        r"""-- Promises: every subject that is not as its last audit row says: `differs`, for later rows are cut off or somebody changed it
-- around its trigger; `missing`, for it has none. Not in it: jobs, deliveries and answers to auto-syncs, of which not every row
-- is on record; columns that are not on record. Called by verify_audit_log.
CREATE OR REPLACE FUNCTION audit_subject_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_kind record;
BEGIN
  FOR v_kind IN
    SELECT *
    FROM (
      VALUES
        ('api_key', 'api_keys', 'id', '{last_used_at}'::text[]),
        ('auto_sync', 'auto_syncs', 'id', '{}'),
        ('booking', 'bookings', 'id', '{}'),
        ('credentials', 'provider_credentials', 'id', '{}'),
        ('crew', 'crews', 'id', '{}'),
        ('crew_member', 'crew_members', 'id', '{}'),
        ('customer', 'customers', 'id', '{}'),
        ('job_queue', 'job_queues', 'name', '{}'),
        ('message_channel', 'message_channels', 'name', '{}'),
        ('prebooking', 'prebookings', 'id', '{}'),
        ('provider', 'providers', 'name', '{}'),
        ('resource', 'resources', 'id', '{}'),
        ('schedule', 'schedules', 'resource_id', '{}'),
        ('schedule_exception', 'schedule_exceptions', 'resource_id', '{}'),
        ('slot', 'slots', 'id', '{booked_bookings,booked_units,updated_at}'),
        ('waitlist_entry', 'waitlist_entries', 'id', '{}'),
        ('webhook_endpoint', 'webhook_endpoints', 'id', '{failing_since,tested_at,updated_at}'),
        ('webhook_secret', 'webhook_secrets', 'id', '{}')
    ) k (subject, relation, key, not_on_record)
  LOOP
    FOR subject_type, subject_id, audit_id, fault IN EXECUTE format(
      $query$
        SELECT %1$L, COALESCE(s.%3$I::text, l.subject_id), l.id, CASE WHEN l.id IS NULL THEN 'missing' ELSE 'differs' END
        FROM %2$I s
        FULL JOIN last_audit_entries(%1$L) l
          ON l.subject_id = s.%3$I::text AND (l.on_date IS NULL OR l.on_date = to_jsonb(s) ->> 'date')
        WHERE CASE
          -- one that its schedule makes is on record from the day on which somebody changes or fills it
          WHEN %1$L = 'slot' AND COALESCE(to_jsonb(s) ->> 'source', l.state ->> 'source') = 'schedule'
            THEN s.%3$I IS NOT NULL AND l.id IS NOT NULL AND jsonb_populate_record(s, l.state - $1) IS DISTINCT FROM s
          ELSE (s.%3$I IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state - $1) IS DISTINCT FROM s
        END
      $query$,
      v_kind.subject, v_kind.relation, v_kind.key
    ) USING v_kind.not_on_record
    LOOP
      RETURN NEXT;
    END LOOP;
  END LOOP;
END
$$""",
        r"""-- Promises: every subject that is not as its last audit row says: `differs`, for later rows are cut off or somebody changed it
-- around its trigger; `missing`, for it has none. Not in it: jobs, deliveries and answers to auto-syncs, of which not every row
-- is on record; columns that are not on record; subjects whose last row went with its month. Called by verify_audit_log.
CREATE OR REPLACE FUNCTION audit_subject_faults()
RETURNS TABLE (subject_type text, subject_id text, audit_id bigint, fault text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_kind record;
BEGIN
  FOR v_kind IN
    SELECT *
    FROM (
      VALUES
        ('api_key', 'api_keys', 'id', '{last_used_at}'::text[]),
        ('auto_sync', 'auto_syncs', 'id', '{}'),
        ('booking', 'bookings', 'id', '{}'),
        ('credentials', 'provider_credentials', 'id', '{}'),
        ('crew', 'crews', 'id', '{}'),
        ('crew_member', 'crew_members', 'id', '{}'),
        ('customer', 'customers', 'id', '{}'),
        ('job_queue', 'job_queues', 'name', '{}'),
        ('message_channel', 'message_channels', 'name', '{}'),
        ('prebooking', 'prebookings', 'id', '{}'),
        ('provider', 'providers', 'name', '{}'),
        ('resource', 'resources', 'id', '{}'),
        ('schedule', 'schedules', 'resource_id', '{}'),
        ('schedule_exception', 'schedule_exceptions', 'resource_id', '{}'),
        ('slot', 'slots', 'id', '{booked_bookings,booked_units,updated_at}'),
        ('waitlist_entry', 'waitlist_entries', 'id', '{}'),
        ('webhook_endpoint', 'webhook_endpoints', 'id', '{failing_since,tested_at,updated_at}'),
        ('webhook_secret', 'webhook_secrets', 'id', '{}')
    ) k (subject, relation, key, not_on_record)
  LOOP
    FOR subject_type, subject_id, audit_id, fault IN EXECUTE format(
      $query$
        SELECT %1$L, COALESCE(s.%3$I::text, l.subject_id), l.id, CASE WHEN l.id IS NULL THEN 'missing' ELSE 'differs' END
        FROM %2$I s
        FULL JOIN last_audit_entries(%1$L) l
          ON l.subject_id = s.%3$I::text AND (l.on_date IS NULL OR l.on_date = to_jsonb(s) ->> 'date')
        WHERE CASE
          -- one that its schedule makes is on record from the day on which somebody changes or fills it
          WHEN %1$L = 'slot' AND COALESCE(to_jsonb(s) ->> 'source', l.state ->> 'source') = 'schedule'
            THEN s.%3$I IS NOT NULL AND l.id IS NOT NULL AND jsonb_populate_record(s, l.state - $1) IS DISTINCT FROM s
          ELSE (s.%3$I IS NULL) <> (l.state IS NULL) OR jsonb_populate_record(s, l.state - $1) IS DISTINCT FROM s
        END
        AND NOT EXISTS (
          SELECT FROM audit_dropped d
          WHERE d.subject_type = %1$L AND d.subject_id = COALESCE(s.%3$I::text, l.subject_id) AND d.number <= $2
            AND d.last_position > COALESCE(l.last_position, 0)
        )
      $query$,
      v_kind.subject, v_kind.relation, v_kind.key
    ) USING v_kind.not_on_record, (last_audit_drop() ->> 'number')::integer
    LOOP
      RETURN NEXT;
    END LOOP;
  END LOOP;
END
$$""",
    ),
    Change(
        "functions/backfill_audit_chain",
        r"""-- Promises: of up to p_limit audit rows that are not chained, the oldest, each stands in the chain of its subject; answers how
-- many. Called by housekeeping until none is left: rows from before chains, and those written meanwhile to their subjects.
-- Locks: the rows, by id, so that whoever comes second finds none of them left.
CREATE OR REPLACE FUNCTION backfill_audit_chain(p_limit integer)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry audit_log;
  v_last record;
  v_done integer := 0;
BEGIN
  FOR v_entry IN
    SELECT * FROM audit_log a WHERE a.position IS NULL ORDER BY a.id LIMIT p_limit FOR NO KEY UPDATE
  LOOP
    SELECT a.position, a.hash INTO v_last
    FROM audit_log a
    WHERE a.subject_type = v_entry.subject_type AND a.subject_id = v_entry.subject_id AND a.position IS NOT NULL
    ORDER BY a.position DESC
    LIMIT 1;
    v_entry.position := COALESCE(v_last.position, 0) + 1;
    v_entry.prev_hash := v_last.hash;
    UPDATE audit_log a
    SET position = v_entry.position, prev_hash = v_entry.prev_hash, hash = audit_hash(v_entry)
    WHERE a.id = v_entry.id;
    v_done := v_done + 1;
  END LOOP;
  RETURN v_done;
END
$$""",
        r"""-- Promises: of up to p_limit audit rows that are not chained, the oldest, each stands in the chain of its subject, and of up to
-- p_limit subjects from before there was `audit_chains`, it is noted there where their chains end; answers how many. Called by
-- housekeeping until none is left: then `audit_backfill`, which says how far it came, is empty.
-- Locks: the rows, by id, so that whoever comes second finds none of them left, and the ends of their chains; or `audit_backfill`.
CREATE OR REPLACE FUNCTION backfill_audit_chain(p_limit integer)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry audit_log;
  v_last record;
  v_after record;
  v_done integer := 0;
BEGIN
  FOR v_entry IN
    SELECT * FROM audit_log a WHERE a.position IS NULL ORDER BY a.id LIMIT p_limit FOR NO KEY UPDATE
  LOOP
    PERFORM FROM audit_chains c
    WHERE c.subject_type = v_entry.subject_type AND c.subject_id = v_entry.subject_id
    FOR NO KEY UPDATE;
    SELECT a.position, a.hash INTO v_last
    FROM audit_log a
    WHERE a.subject_type = v_entry.subject_type AND a.subject_id = v_entry.subject_id AND a.position IS NOT NULL
    ORDER BY a.position DESC
    LIMIT 1;
    v_entry.position := COALESCE(v_last.position, 0) + 1;
    v_entry.prev_hash := v_last.hash;
    UPDATE audit_log a
    SET position = v_entry.position, prev_hash = v_entry.prev_hash, hash = audit_hash(v_entry)
    WHERE a.id = v_entry.id;
    INSERT INTO audit_chains AS c (subject_type, subject_id, position, hash)
    VALUES (v_entry.subject_type, v_entry.subject_id, v_entry.position, audit_hash(v_entry))
    ON CONFLICT (subject_type, subject_id) DO UPDATE SET position = EXCLUDED.position, hash = EXCLUDED.hash;
    v_done := v_done + 1;
  END LOOP;
  IF v_done > 0 THEN
    RETURN v_done;
  END IF;

  SELECT * INTO v_after FROM audit_backfill FOR UPDATE;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  FOR v_last IN
    SELECT DISTINCT ON (a.subject_type, a.subject_id) a.subject_type, a.subject_id, a.position, a.hash
    FROM audit_log a
    WHERE (a.subject_type, a.subject_id) > (v_after.subject_type, v_after.subject_id)
    ORDER BY a.subject_type, a.subject_id, a.position DESC
    LIMIT p_limit
  LOOP
    INSERT INTO audit_chains (subject_type, subject_id, position, hash)
    VALUES (v_last.subject_type, v_last.subject_id, v_last.position, v_last.hash)
    ON CONFLICT DO NOTHING;
    v_done := v_done + 1;
  END LOOP;
  IF v_done < p_limit THEN
    DELETE FROM audit_backfill;
  ELSE
    UPDATE audit_backfill SET subject_type = v_last.subject_type, subject_id = v_last.subject_id;
  END IF;
  RETURN v_done;
END
$$""",
    ),
    Change(
        "functions/customer_audit_entries",
        None,
        r"""-- Promises: the audit rows of everything that is a customer's own, found by the index on subjects, however many rows others have.
-- Called by redact_audit_log, export_customer and audit_entries_under_hold.
CREATE OR REPLACE FUNCTION customer_audit_entries(p_customer_id uuid)
RETURNS SETOF bigint
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT o.id
    FROM customer_subjects(p_customer_id) s
    CROSS JOIN LATERAL (
      SELECT a.id
      FROM audit_log a
      WHERE a.subject_type = s.subject_type AND a.subject_id = s.subject_id
      -- or the planner, who thinks of a thousand subjects, joins them with the whole trail
      OFFSET 0
    ) o;
END
$$""",
    ),
    Change(
        "functions/customer_subjects",
        r"""-- Promises: the ids of everything that is a customer's own, as the audit trail names it. Called by erase_customer and
-- export_customer.
CREATE OR REPLACE FUNCTION customer_subjects(p_customer_id uuid)
RETURNS TABLE (subject_type text, subject_id text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT 'customer', p_customer_id::text
    UNION ALL
    SELECT 'booking', b.id::text FROM bookings b WHERE b.customer_id = p_customer_id
    UNION ALL
    SELECT 'prebooking', p.id::text FROM prebookings p WHERE p.customer_id = p_customer_id
    UNION ALL
    SELECT 'waitlist_entry', w.id::text FROM waitlist_entries w WHERE w.customer_id = p_customer_id
    UNION ALL
    SELECT 'crew_member', m.id::text FROM crew_members m WHERE m.customer_id = p_customer_id
    UNION ALL
    SELECT 'auto_sync_participant', t.id::text FROM auto_sync_participants t WHERE t.customer_id = p_customer_id
    UNION ALL
    -- of credentials that are deleted only the trail knows
    SELECT DISTINCT 'credentials', a.subject_id
    FROM audit_log a
    WHERE a.subject_type = 'credentials' AND p_customer_id::text IN (a.new_values ->> 'customer_id', a.old_values ->> 'customer_id');
END
$$""",
        r"""-- Promises: the ids of everything that is a customer's own, as the audit trail names it. Called by erase_customer and
-- export_customer.
CREATE OR REPLACE FUNCTION customer_subjects(p_customer_id uuid)
RETURNS TABLE (subject_type text, subject_id text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT 'customer', p_customer_id::text
    UNION ALL
    SELECT 'booking', b.id::text FROM bookings b WHERE b.customer_id = p_customer_id
    UNION ALL
    SELECT 'prebooking', p.id::text FROM prebookings p WHERE p.customer_id = p_customer_id
    UNION ALL
    SELECT 'waitlist_entry', w.id::text FROM waitlist_entries w WHERE w.customer_id = p_customer_id
    UNION ALL
    SELECT 'crew_member', m.id::text FROM crew_members m WHERE m.customer_id = p_customer_id
    UNION ALL
    SELECT 'auto_sync_participant', t.id::text FROM auto_sync_participants t WHERE t.customer_id = p_customer_id
    UNION ALL
    -- of credentials that are deleted only the trail knows
    SELECT DISTINCT 'credentials', a.subject_id
    FROM audit_log a
    WHERE a.subject_type = 'credentials' AND COALESCE(a.new_values, a.old_values) ->> 'customer_id' = p_customer_id::text;
END
$$""",
    ),
    Change(
        "functions/drop_audit_month",
        None,
        r"""-- Promises: the oldest month with rows in the audit trail, if it ended p_keep_months before this one began, is gone, and an entry
-- of the trail vouches for it. What is noted first, p_limit subjects a call: then it answers p_limit. Not while a row of it is under a legal
-- hold or not chained. Called by the job processor. Locks: the record of what was dropped, then the trail; it gives up after a
-- second and comes again.
CREATE OR REPLACE FUNCTION drop_audit_month(
  p_actor jsonb, p_limit integer, p_keep_months integer, p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET lock_timeout = '1s'
AS $$
DECLARE
  v_before timestamptz := (date_trunc('month', p_now AT TIME ZONE 'UTC') - make_interval(months => p_keep_months)) AT TIME ZONE 'UTC';
  v_month record;
  v_last jsonb;
  v_number integer;
  v_digest text;
  v_entries bigint;
  v_noted integer;
BEGIN
  SELECT * INTO v_month FROM audit_partitions() p WHERE p.ends_at <= v_before ORDER BY p.ends_at LIMIT 1;
  IF NOT FOUND
    OR EXISTS (SELECT FROM audit_entries_under_hold(v_month.begins_at, v_month.ends_at))
    OR EXISTS (SELECT FROM audit_log a WHERE a.position IS NULL AND a.created_at < v_month.ends_at)
  THEN
    RETURN 0;
  END IF;
  LOCK TABLE audit_dropped IN SHARE ROW EXCLUSIVE MODE;
  -- whoever waited there for another finds the month gone
  IF to_regclass(quote_ident(v_month.name)) IS NULL THEN
    RETURN 0;
  END IF;
  v_last := last_audit_drop();
  v_number := COALESCE((v_last ->> 'number')::integer, 0) + 1;
  v_noted := note_dropped_audit_rows(v_month.name, v_number, p_limit);
  IF v_noted = p_limit THEN
    RETURN v_noted;
  END IF;

  EXECUTE format('SELECT count(*) FROM %I', v_month.name) INTO v_entries;
  v_digest := dropped_audit_digest(v_number, v_last ->> 'digest');
  EXECUTE format('DROP TABLE %I', v_month.name);
  IF v_entries = 0 THEN
    RETURN drop_audit_month(p_actor, p_limit, p_keep_months, p_now);
  END IF;
  INSERT INTO audit_log (
    subject_type, subject_id, event, action_type, old_values, new_values, performed_by, performed_by_id
  )
  VALUES (
    'audit_log', 'dropped', 'audit_log.dropped', 'dropped', '{}', jsonb_build_object(
      'number', v_number, 'before', v_month.ends_at, 'entries', v_entries, 'digest', v_digest
    ), p_actor ->> 'type', p_actor ->> 'id'
  );
  RETURN v_noted;
EXCEPTION WHEN lock_not_available THEN
  RETURN 0;
END
$$""",
    ),
    Change(
        "functions/dropped_audit_digest",
        None,
        r"""-- Promises: one SHA-256 over what was noted of a month that was dropped, and over the digest of the one before; without the
-- latter, over all months up to this one. Called by drop_audit_month and audit_drop_faults.
CREATE OR REPLACE FUNCTION dropped_audit_digest(p_number integer, p_previous text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_previous text := p_previous;
BEGIN
  IF v_previous IS NULL AND p_number > 1 THEN
    v_previous := dropped_audit_digest(p_number - 1);
  END IF;
  RETURN encode(sha256(
    convert_to(COALESCE(v_previous, ''), 'UTF8') || COALESCE(string_agg(e.digest, '' ORDER BY e.digest), '')
  ), 'hex')
  FROM (
    SELECT sha256(convert_to(jsonb_build_array(
      d.subject_type, d.subject_id, d.first_position, encode(d.prev_hash, 'hex'), d.last_position, encode(d.hash, 'hex')
    )::text, 'UTF8')) AS digest
    FROM audit_dropped d
    WHERE d.number = p_number
  ) e;
END
$$""",
    ),
    Change(
        "functions/erased_audit_entry",
        r"""-- Promises: an audit row without personal data: where from and why, and which customer did it; and with
-- p_is_own the states, which are of a customer's own. Its place and hash stay: the hash is of what once stood there.
-- Called by redact_audit_log and audit_log_guard_update. Twice is once.
CREATE OR REPLACE FUNCTION erased_audit_entry(p_entry audit_log, p_is_own boolean)
RETURNS audit_log
LANGUAGE plpgsql
IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_erased audit_log := p_entry;
BEGIN
  v_erased.ip_address := NULL;
  v_erased.user_agent := NULL;
  v_erased.request_id := NULL;
  v_erased.reason := NULL;
  IF p_entry.performed_by_id LIKE 'customer:%' THEN
    v_erased.performed_by_id := 'customer:erased';
  END IF;
  IF p_is_own THEN
    v_erased.old_values := without_personal_data(p_entry.old_values);
    v_erased.new_values := without_personal_data(p_entry.new_values);
  END IF;
  RETURN v_erased;
END
$$""",
        r"""-- Promises: an audit row without personal data: where from and why, and which customer did it; and with
-- p_is_own the states, which are of a customer's own. Its place and hash stay: the hash is of what once stood there.
-- Called by redact_audit_log and audit_log_guard_update. Twice is once.
CREATE OR REPLACE FUNCTION erased_audit_entry(p_entry audit_log, p_is_own boolean)
RETURNS audit_log
LANGUAGE plpgsql
IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_erased audit_log := p_entry;
BEGIN
  v_erased.ip_address := NULL;
  v_erased.user_agent := NULL;
  v_erased.address_salt := NULL;
  v_erased.address_hash := NULL;
  v_erased.request_id := NULL;
  v_erased.reason := NULL;
  IF p_entry.performed_by_id LIKE 'customer:%' THEN
    v_erased.performed_by_id := 'customer:erased';
  END IF;
  IF p_is_own THEN
    v_erased.old_values := without_personal_data(p_entry.old_values);
    v_erased.new_values := without_personal_data(p_entry.new_values);
  END IF;
  RETURN v_erased;
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
        "functions/export_customer",
        r"""-- Promises: everything that is held on a customer, as one document; of credentials that they are there, never the secret.
-- Called by POST /v1/customers/{ref}/export. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION export_customer(p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  SELECT * INTO v_customer FROM customers c WHERE c.ref = p_customer_ref;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'customer_not_found' USING ERRCODE = 'SB037', DETAIL = '{}';
  END IF;
  RETURN json_build_object(
    'customer', to_jsonb(v_customer),
    'bookings', (
      SELECT COALESCE(json_agg(booking_json(b, v_customer.ref) ORDER BY b.created_at, b.id), '[]')
      FROM bookings b WHERE b.customer_id = v_customer.id
    ),
    'prebookings', (
      SELECT COALESCE(json_agg(prebooking_json(p) ORDER BY p.created_at, p.id), '[]')
      FROM prebookings p WHERE p.customer_id = v_customer.id
    ),
    'waitlist_entries', (
      SELECT COALESCE(json_agg(to_jsonb(w) ORDER BY w.created_at, w.id), '[]')
      FROM waitlist_entries w WHERE w.customer_id = v_customer.id
    ),
    'messages', (
      SELECT COALESCE(json_agg(to_jsonb(m) ORDER BY m.created_at, m.id), '[]')
      FROM messages m WHERE m.customer_id = v_customer.id
    ),
    'crew_memberships', (
      SELECT COALESCE(json_agg(to_jsonb(m) || jsonb_build_object('crew_name', w.name) ORDER BY m.joined_at, m.id), '[]')
      FROM crew_members m JOIN crews w ON w.id = m.crew_id WHERE m.customer_id = v_customer.id
    ),
    'responses', (
      SELECT COALESCE(json_agg(to_jsonb(t) || jsonb_build_object('event_name', a.event_name) ORDER BY t.created_at, t.id), '[]')
      FROM auto_sync_participants t JOIN auto_syncs a ON a.id = t.auto_sync_id WHERE t.customer_id = v_customer.id
    ),
    'credentials', (
      SELECT COALESCE(json_agg(credentials_json(c, v_customer.ref) ORDER BY c.created_at, c.id), '[]')
      FROM provider_credentials c WHERE c.customer_id = v_customer.id
    ),
    'payment_events', (
      SELECT COALESCE(json_agg(to_jsonb(e) ORDER BY e.created_at, e.id), '[]')
      FROM payment_events e JOIN bookings b ON b.id = e.booking_id WHERE b.customer_id = v_customer.id
    ),
    'audit_entries', (
      SELECT COALESCE(json_agg(to_jsonb(a) - '{position,prev_hash,hash,xid}'::text[] ORDER BY a.id), '[]')
      FROM audit_log a
      WHERE a.performed_by_id = 'customer:' || v_customer.ref
        OR (a.subject_type, a.subject_id) IN (SELECT s.subject_type, s.subject_id FROM customer_subjects(v_customer.id) s)
    )
  );
END
$$""",
        r"""-- Promises: everything that is held on a customer, as one document; of credentials that they are there, never the secret.
-- Called by POST /v1/customers/{ref}/export. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION export_customer(p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  SELECT * INTO v_customer FROM customers c WHERE c.ref = p_customer_ref;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'customer_not_found' USING ERRCODE = 'SB037', DETAIL = '{}';
  END IF;
  RETURN json_build_object(
    'customer', to_jsonb(v_customer),
    'bookings', (
      SELECT COALESCE(json_agg(booking_json(b, v_customer.ref) ORDER BY b.created_at, b.id), '[]')
      FROM bookings b WHERE b.customer_id = v_customer.id
    ),
    'prebookings', (
      SELECT COALESCE(json_agg(prebooking_json(p) ORDER BY p.created_at, p.id), '[]')
      FROM prebookings p WHERE p.customer_id = v_customer.id
    ),
    'waitlist_entries', (
      SELECT COALESCE(json_agg(to_jsonb(w) ORDER BY w.created_at, w.id), '[]')
      FROM waitlist_entries w WHERE w.customer_id = v_customer.id
    ),
    'messages', (
      SELECT COALESCE(json_agg(to_jsonb(m) ORDER BY m.created_at, m.id), '[]')
      FROM messages m WHERE m.customer_id = v_customer.id
    ),
    'crew_memberships', (
      SELECT COALESCE(json_agg(to_jsonb(m) || jsonb_build_object('crew_name', w.name) ORDER BY m.joined_at, m.id), '[]')
      FROM crew_members m JOIN crews w ON w.id = m.crew_id WHERE m.customer_id = v_customer.id
    ),
    'responses', (
      SELECT COALESCE(json_agg(to_jsonb(t) || jsonb_build_object('event_name', a.event_name) ORDER BY t.created_at, t.id), '[]')
      FROM auto_sync_participants t JOIN auto_syncs a ON a.id = t.auto_sync_id WHERE t.customer_id = v_customer.id
    ),
    'credentials', (
      SELECT COALESCE(json_agg(credentials_json(c, v_customer.ref) ORDER BY c.created_at, c.id), '[]')
      FROM provider_credentials c WHERE c.customer_id = v_customer.id
    ),
    'payment_events', (
      SELECT COALESCE(json_agg(to_jsonb(e) ORDER BY e.created_at, e.id), '[]')
      FROM payment_events e JOIN bookings b ON b.id = e.booking_id WHERE b.customer_id = v_customer.id
    ),
    'audit_entries', (
      SELECT COALESCE(json_agg(to_jsonb(a) - '{position,prev_hash,hash,xid,address_salt,address_hash}'::text[] ORDER BY a.id), '[]')
      FROM audit_log a
      WHERE a.id IN (
        SELECT o.id FROM audit_log o WHERE o.performed_by_id LIKE 'customer:%' AND o.performed_by_id = 'customer:' || v_customer.ref
        UNION
        SELECT * FROM customer_audit_entries(v_customer.id)
      )
    )
  );
END
$$""",
    ),
    Change(
        "functions/forget_audit_addresses",
        None,
        r"""-- Promises: of up to p_limit audit rows that are older than p_keep, the oldest, address and user agent are gone, and their hashes
-- are true as before; answers how many. Not those of customers under a legal hold. Called by the job processor.
-- Locks: the rows, SKIP LOCKED.
CREATE OR REPLACE FUNCTION forget_audit_addresses(p_limit integer, p_keep interval, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_held bigint[];
  v_forgotten integer;
BEGIN
  -- mostly nothing is old enough, and what is held is found by a look at every customer
  IF NOT EXISTS (SELECT FROM audit_log o WHERE o.address_salt IS NOT NULL AND o.created_at < p_now - p_keep) THEN
    RETURN 0;
  END IF;

  v_held := ARRAY(SELECT * FROM audit_entries_under_hold('-infinity', p_now - p_keep));
  UPDATE audit_log a
  SET ip_address = f.ip_address, user_agent = f.user_agent, address_salt = f.address_salt, address_hash = f.address_hash
  FROM (
    SELECT o.id, o.created_at, forgotten_audit_entry(o) AS entry
    FROM audit_log o
    WHERE o.address_salt IS NOT NULL AND o.created_at < p_now - p_keep AND o.id <> ALL (v_held)
    ORDER BY o.created_at
    LIMIT p_limit
    FOR NO KEY UPDATE SKIP LOCKED
  ) o
  CROSS JOIN LATERAL (SELECT (o.entry).*) f
  WHERE a.id = o.id AND a.created_at = o.created_at;
  GET DIAGNOSTICS v_forgotten = ROW_COUNT;
  RETURN v_forgotten;
END
$$""",
    ),
    Change(
        "functions/forgotten_audit_entry",
        None,
        r"""-- Promises: an audit row without address and user agent, and with what its hash needs in their place: the hash stays true.
-- Called by forget_audit_addresses and audit_log_guard_update.
CREATE OR REPLACE FUNCTION forgotten_audit_entry(p_entry audit_log)
RETURNS audit_log
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_forgotten audit_log := p_entry;
BEGIN
  v_forgotten.address_hash := audit_address_hash(p_entry);
  v_forgotten.address_salt := NULL;
  v_forgotten.ip_address := NULL;
  v_forgotten.user_agent := NULL;
  RETURN v_forgotten;
END
$$""",
    ),
    Change(
        "functions/last_audit_drop",
        None,
        r"""-- Promises: what the newest entry says that vouches for months that were dropped: the number of the last, before when all is gone,
-- and a digest over what was noted of all of them. Null where nothing was dropped. Called by drop_audit_month and by verifying.
CREATE OR REPLACE FUNCTION last_audit_drop()
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT a.new_values
    FROM audit_log a
    WHERE a.subject_type = 'audit_log' AND a.subject_id = 'dropped'
    ORDER BY a.position DESC
    LIMIT 1
  );
END
$$""",
    ),
    Change(
        "functions/last_audit_entries",
        r"""-- Promises: the last audit row of each subject of a type, and the state that it left; the dates of a resource's exceptions
-- are one subject, and each has its last. Called by audit_subject_faults.
CREATE OR REPLACE FUNCTION last_audit_entries(p_subject_type text)
RETURNS TABLE (subject_id text, on_date text, id bigint, state jsonb)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT a.subject_id, n.on_date, a.id, a.new_values
    FROM (
      SELECT max(m.id) AS id, d.on_date
      FROM audit_log m
      CROSS JOIN LATERAL (
        SELECT CASE WHEN p_subject_type = 'schedule_exception' THEN COALESCE(m.new_values, m.old_values) ->> 'date' END
      ) AS d (on_date)
      WHERE m.subject_type = p_subject_type
      GROUP BY m.subject_id, d.on_date
    ) n
    JOIN audit_log a ON a.id = n.id;
END
$$""",
        r"""-- Promises: the last audit row of each subject of a type, and the state that it left; the dates of a resource's exceptions
-- are one subject, and each has its last. Called by audit_subject_faults.
CREATE OR REPLACE FUNCTION last_audit_entries(p_subject_type text)
RETURNS TABLE (subject_id text, on_date text, id bigint, last_position integer, state jsonb)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT a.subject_id, n.on_date, a.id, a.position, a.new_values
    FROM (
      SELECT max(m.id) AS id, d.on_date
      FROM audit_log m
      CROSS JOIN LATERAL (
        SELECT CASE WHEN p_subject_type = 'schedule_exception' THEN COALESCE(m.new_values, m.old_values) ->> 'date' END
      ) AS d (on_date)
      WHERE m.subject_type = p_subject_type
      GROUP BY m.subject_id, d.on_date
    ) n
    JOIN audit_log a ON a.id = n.id;
END
$$""",
    ),
    Change(
        "functions/make_audit_partitions",
        None,
        r"""-- Promises: this month of the audit trail and the three after it have partitions; what was written while they had none, in the
-- partition for what no other takes, has one for all those months. Answers how many were made. Called by the job processor.
-- Locks: the trail, where somebody had to wait for this; it gives up after a second and comes again.
CREATE OR REPLACE FUNCTION make_audit_partitions(p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET lock_timeout = '1s'
AS $$
DECLARE
  v_this timestamp := date_trunc('month', p_now AT TIME ZONE 'UTC');
  v_end timestamptz := COALESCE((SELECT max(p.ends_at) FROM audit_partitions() p), v_this AT TIME ZONE 'UTC');
  v_month timestamp;
  v_name text;
  v_made integer := 0;
BEGIN
  IF v_end > (v_this + interval '3 months') AT TIME ZONE 'UTC' AND NOT EXISTS (SELECT FROM audit_log_default) THEN
    RETURN 0;
  END IF;
  LOCK TABLE audit_log IN SHARE UPDATE EXCLUSIVE MODE;
  v_end := COALESCE((SELECT max(p.ends_at) FROM audit_partitions() p), v_this AT TIME ZONE 'UTC');

  -- what is older than all partitions, which nobody writes but by hand, stays where it is
  IF v_end < (SELECT max(a.created_at) FROM audit_log_default a)
    AND NOT EXISTS (SELECT FROM audit_log_default a WHERE a.created_at < v_end)
  THEN
    v_month := (
      SELECT date_trunc('month', GREATEST(max(a.created_at), p_now) AT TIME ZONE 'UTC') + interval '1 month' FROM audit_log_default a
    );
    v_name := to_char(v_month, '"audit_log_before_"YYYY_MM');
    ALTER TABLE audit_log DETACH PARTITION audit_log_default;
    EXECUTE format('ALTER TABLE audit_log_default RENAME TO %I', v_name);
    EXECUTE format(
      'ALTER TABLE audit_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', v_name, v_end, v_month AT TIME ZONE 'UTC'
    );
    PERFORM add_audit_partition('audit_log_default', v_name, 'DEFAULT');
    v_end := v_month AT TIME ZONE 'UTC';
    v_made := 1;
  END IF;

  FOR v_month IN SELECT generate_series(v_this, v_this + interval '3 months', '1 month') LOOP
    CONTINUE WHEN v_month AT TIME ZONE 'UTC' < v_end OR EXISTS (
      SELECT FROM audit_log_default a WHERE date_trunc('month', a.created_at AT TIME ZONE 'UTC') = v_month
    );
    PERFORM add_audit_partition(
      to_char(v_month, '"audit_log_"YYYY_MM'), 'audit_log_default', format(
        'FOR VALUES FROM (%L) TO (%L)', v_month AT TIME ZONE 'UTC', (v_month + interval '1 month') AT TIME ZONE 'UTC'
      )
    );
    v_made := v_made + 1;
  END LOOP;
  RETURN v_made;
EXCEPTION WHEN lock_not_available THEN
  RETURN 0;
END
$$""",
    ),
    Change(
        "functions/note_dropped_audit_rows",
        None,
        r"""-- Promises: of the next p_limit subjects in a month that will be dropped, each run of rows is noted as the one link of its chain
-- that it leaves: from which position to which, chained to what, and the last hash. Answers how many subjects, at most p_limit.
-- Called by drop_audit_month until none is left.
CREATE OR REPLACE FUNCTION note_dropped_audit_rows(p_month text, p_number integer, p_limit integer)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_type text;
  v_id text;
  v_noted integer;
BEGIN
  SELECT d.subject_type, d.subject_id INTO v_type, v_id
  FROM audit_dropped d
  WHERE d.number = p_number
  ORDER BY d.subject_type DESC, d.subject_id DESC
  LIMIT 1;
  EXECUTE format(
    $query$
      WITH subjects AS MATERIALIZED (
        SELECT DISTINCT a.subject_type, a.subject_id
        FROM %1$I a
        WHERE (a.subject_type, a.subject_id) > ($2, $3)
        ORDER BY a.subject_type, a.subject_id
        LIMIT $4
      ), noted AS (
        INSERT INTO audit_dropped (number, subject_type, subject_id, first_position, prev_hash, last_position, hash)
        SELECT $1, r.subject_type, r.subject_id, min(r.position), (array_agg(r.prev_hash ORDER BY r.position))[1],
          max(r.position), (array_agg(r.hash ORDER BY r.position DESC))[1]
        FROM (
          SELECT a.*, a.position - row_number() OVER (PARTITION BY a.subject_type, a.subject_id ORDER BY a.position) AS run
          FROM %1$I a
          JOIN subjects USING (subject_type, subject_id)
        ) r
        GROUP BY r.subject_type, r.subject_id, r.run
      )
      SELECT count(*) FROM subjects
    $query$,
    p_month
  ) INTO v_noted USING p_number, COALESCE(v_type, ''), COALESCE(v_id, ''), p_limit;
  RETURN v_noted;
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
        "functions/redact_audit_log",
        r"""-- Promises: the trail says nothing personal of a customer: rows of the customer's own are emptied, and of what else came of the
-- same transactions and requests, or was done by the customer, where from and why. An entry of the trail names each of them and
-- the hash of what stands there now. Answers their ids. Called by erase_customer, with the customer's row locked.
CREATE OR REPLACE FUNCTION redact_audit_log(p_actor jsonb, p_customer customers, p_ref text)
RETURNS bigint[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_state jsonb := to_jsonb(p_customer) - '{name,email,phone}'::text[];
  v_own bigint[];
  v_erased audit_log[];
  v_entry_id bigint;
BEGIN
  v_own := ARRAY(SELECT a.id FROM audit_log a JOIN customer_subjects(p_customer.id) s USING (subject_type, subject_id));
  v_erased := ARRAY(
    SELECT erased_audit_entry(a, a.id = ANY (v_own))
    FROM audit_log a
    WHERE a.id = ANY (v_own) OR a.performed_by_id = 'customer:' || p_ref
      OR a.xid IN (SELECT o.xid FROM audit_log o WHERE o.id = ANY (v_own))
      OR a.request_id IN (SELECT o.request_id FROM audit_log o WHERE o.id = ANY (v_own))
    ORDER BY a.id
  );
  INSERT INTO audit_log (
    subject_type, subject_id, event, action_type, old_values, new_values, performed_by, performed_by_id, reason
  )
  SELECT 'customer', p_customer.id, 'customer.erased', 'erased', '{}', v_state || jsonb_build_object(
    'emptied', COALESCE(jsonb_object_agg(e.id, encode(audit_hash(e), 'hex')), '{}')
  ), p_actor ->> 'type', p_actor ->> 'id', p_actor ->> 'reason'
  FROM unnest(v_erased) e
  RETURNING id INTO v_entry_id;

  PERFORM set_config('holdfast.erasure', v_entry_id::text, true);
  UPDATE audit_log a
  SET old_values = e.old_values, new_values = e.new_values, performed_by_id = e.performed_by_id, reason = e.reason,
      ip_address = e.ip_address, user_agent = e.user_agent, request_id = e.request_id
  FROM unnest(v_erased) e
  WHERE a.id = e.id;
  RETURN ARRAY(SELECT e.id FROM unnest(v_erased) e);
END
$$""",
        r"""-- Promises: the trail says nothing personal of a customer: rows of the customer's own are emptied, and of what else came of the
-- same transactions and requests, or was done by the customer, where from and why. An entry of the trail names each of them and
-- the hash of what stands there now. Answers their ids. Called by erase_customer, with the customer's row locked.
CREATE OR REPLACE FUNCTION redact_audit_log(p_actor jsonb, p_customer customers, p_ref text)
RETURNS bigint[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_state jsonb := to_jsonb(p_customer) - '{name,email,phone}'::text[];
  v_own bigint[];
  v_ids bigint[];
  v_erased audit_log[];
  v_entry_id bigint;
BEGIN
  -- each by its index: what an erasure reads grows with the customer's rows, not with the trail
  v_own := ARRAY(SELECT * FROM customer_audit_entries(p_customer.id));
  v_ids := ARRAY(
    SELECT unnest(v_own)
    UNION
    SELECT a.id FROM audit_log a WHERE a.performed_by_id LIKE 'customer:%' AND a.performed_by_id = 'customer:' || p_ref
    UNION
    SELECT a.id FROM audit_log a WHERE a.xid = ANY (ARRAY(SELECT o.xid FROM audit_log o WHERE o.id = ANY (v_own)))
    UNION
    SELECT a.id FROM audit_log a
    WHERE a.request_id = ANY (ARRAY(SELECT o.request_id FROM audit_log o WHERE o.id = ANY (v_own)))
  );
  v_erased := ARRAY(
    SELECT erased_audit_entry(a, a.id = ANY (v_own)) FROM audit_log a WHERE a.id = ANY (v_ids) ORDER BY a.id
  );
  INSERT INTO audit_log (
    subject_type, subject_id, event, action_type, old_values, new_values, performed_by, performed_by_id, reason
  )
  SELECT 'customer', p_customer.id, 'customer.erased', 'erased', '{}', v_state || jsonb_build_object(
    'emptied', COALESCE(jsonb_object_agg(e.id, encode(audit_hash(e), 'hex')), '{}')
  ), p_actor ->> 'type', p_actor ->> 'id', p_actor ->> 'reason'
  FROM unnest(v_erased) e
  RETURNING id INTO v_entry_id;

  PERFORM set_config('holdfast.erasure', v_entry_id::text, true);
  UPDATE audit_log a
  SET old_values = e.old_values, new_values = e.new_values, performed_by_id = e.performed_by_id, reason = e.reason,
      ip_address = e.ip_address, user_agent = e.user_agent, request_id = e.request_id, address_salt = NULL, address_hash = NULL
  FROM unnest(v_erased) e
  WHERE a.id = e.id AND a.created_at = e.created_at;
  RETURN ARRAY(SELECT e.id FROM unnest(v_erased) e);
END
$$""",
    ),
    Change(
        "functions/replay_events",
        r"""-- Promises: every event of [p_from, p_to) that the endpoint wants is delivered to it, whether it was before or not; p_limit
-- at most, and `next_from` is where to go on, or null. Called by POST /v1/webhook-endpoints/{id}/replay.
-- Locks: deliveries and jobs, by event. Raises: SB027 webhook_endpoint_not_found, SB029 webhook_endpoint_disabled.
CREATE OR REPLACE FUNCTION replay_events(
  p_actor jsonb,
  p_endpoint_id uuid,
  p_from timestamptz,
  p_to timestamptz,
  p_limit integer DEFAULT 5000,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_types text[] := (require_enabled_endpoint(p_endpoint_id)).event_types;
  v_wanted audit_log[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_wanted := ARRAY(
    SELECT a
    FROM audit_log a
    WHERE a.xid IS NOT NULL AND a.created_at >= p_from AND a.created_at < p_to
      AND (v_types IS NULL OR event_type(a.event) = ANY (v_types)) AND a.event <> 'webhook_endpoint.tested'
    ORDER BY a.created_at, a.id
    LIMIT p_limit + 1
  );
  PERFORM enqueue_delivery(p_endpoint_id, w.id, event_type(w.event), p_now) FROM unnest(v_wanted[:p_limit]) w
  ORDER BY w.id;
  RETURN json_build_object(
    'replayed', LEAST(cardinality(v_wanted), p_limit), 'next_from', v_wanted[p_limit + 1].created_at
  );
END
$$""",
        r"""-- Promises: every event of [p_from, p_to) that the endpoint wants is delivered to it, whether it was before or not; p_limit
-- at most, and `next_from` is where to go on, or null. Called by POST /v1/webhook-endpoints/{id}/replay.
-- Locks: deliveries and jobs, by event. Raises: SB027 webhook_endpoint_not_found, SB029 webhook_endpoint_disabled.
CREATE OR REPLACE FUNCTION replay_events(
  p_actor jsonb,
  p_endpoint_id uuid,
  p_from timestamptz,
  p_to timestamptz,
  p_limit integer DEFAULT 5000,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_types text[] := (require_enabled_endpoint(p_endpoint_id)).event_types;
  v_wanted audit_log[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_wanted := ARRAY(
    SELECT a
    FROM audit_log a
    WHERE a.xid IS NOT NULL AND a.created_at >= p_from AND a.created_at < p_to
      AND (v_types IS NULL OR event_type(a.event) = ANY (v_types)) AND a.event <> 'webhook_endpoint.tested'
    ORDER BY a.created_at, a.id
    LIMIT p_limit + 1
  );
  PERFORM enqueue_delivery(p_endpoint_id, w.id, event_type(w.event), p_now) FROM unnest(v_wanted[:p_limit]) w
  ORDER BY w.id;
  RETURN json_build_object(
    'replayed', LEAST(cardinality(v_wanted), p_limit), 'next_from', v_wanted[p_limit + 1].created_at
  );
END
$$""",
    ),
    Change(
        "functions/verify_audit_log",
        r"""-- Promises: whether the audit trail is as it was written, as of one snapshot: how many rows, erasures and checkpoints there are,
-- how many faults, the first p_limit of them, and what the checkpoints state and who signed it, which only a key can verify.
-- Called by `holdfast audit verify`. Reads everything, writes nothing, and holds some bytes a row at most.
CREATE OR REPLACE FUNCTION verify_audit_log(p_limit integer DEFAULT 1000)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    WITH faults AS MATERIALIZED (
      SELECT DISTINCT f.*
      FROM (
        SELECT * FROM audit_chain_faults()
        UNION ALL
        SELECT * FROM audit_subject_faults()
        UNION ALL
        SELECT * FROM audit_checkpoint_faults()
      ) f
    )
    SELECT json_build_object(
      'entries', (SELECT count(*) FROM audit_log),
      'erasures', (SELECT count(*) FROM audit_log a WHERE a.event = 'customer.erased'),
      'fault_count', (SELECT count(*) FROM faults),
      'faults', COALESCE((
        SELECT json_agg(to_json(f))
        FROM (SELECT * FROM faults x ORDER BY x.subject_type, x.subject_id, x.audit_id, x.fault LIMIT p_limit) f
      ), '[]'),
      'checkpoints', COALESCE((
        SELECT json_agg(json_build_object(
          'number', c.number, 'statement', c.statement, 'signature', encode(c.signature, 'base64')
        ) ORDER BY c.number)
        FROM audit_checkpoints c
      ), '[]')
    )
  );
END
$$""",
        r"""-- Promises: whether the audit trail is as it was written, as of one snapshot: how many rows, erasures and checkpoints there are,
-- before when all was dropped, how many faults, the first p_limit of them, and what the checkpoints state and who signed it, which only a key can verify.
-- Called by `holdfast audit verify`. Reads everything, writes nothing, and holds some bytes a row at most.
CREATE OR REPLACE FUNCTION verify_audit_log(p_limit integer DEFAULT 1000)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    WITH faults AS MATERIALIZED (
      SELECT DISTINCT f.*
      FROM (
        SELECT * FROM audit_chain_faults()
        UNION ALL
        SELECT * FROM audit_end_faults()
        UNION ALL
        SELECT * FROM audit_drop_faults()
        UNION ALL
        SELECT * FROM audit_subject_faults()
        UNION ALL
        SELECT * FROM audit_checkpoint_faults()
      ) f
    )
    SELECT json_build_object(
      'entries', (SELECT count(*) FROM audit_log),
      'erasures', (SELECT count(*) FROM audit_log a WHERE a.event = 'customer.erased'),
      'dropped_before', last_audit_drop() ->> 'before',
      'fault_count', (SELECT count(*) FROM faults),
      'faults', COALESCE((
        SELECT json_agg(to_json(f))
        FROM (SELECT * FROM faults x ORDER BY x.subject_type, x.subject_id, x.audit_id, x.fault LIMIT p_limit) f
      ), '[]'),
      'checkpoints', COALESCE((
        SELECT json_agg(json_build_object(
          'number', c.number, 'statement', c.statement, 'signature', encode(c.signature, 'base64')
        ) ORDER BY c.number)
        FROM audit_checkpoints c
      ), '[]')
    )
  );
END
$$""",
    ),
    Change(
        "functions/write_audit_log",
        r"""-- Promises: one audit row per changed row, with the state before and after and who did it, in the same transaction.
-- Called by the *_write_audit triggers with the subject's name and the columns that must not be copied here; with
-- `subject.action` where the row itself does not say what happened. An event also gets its transaction's number.
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
  v_subject text := split_part(TG_ARGV[0], '.', 1);
  v_action text := COALESCE(NULLIF(split_part(TG_ARGV[0], '.', 2), ''), audit_action(v_old, v_new));
  v_event text := v_subject || '.' || v_action;
  v_hidden text[] := TG_ARGV[1:];
  v_hidden_changes text[];
BEGIN
  IF TG_NARGS > 1 THEN
    v_hidden_changes := ARRAY(SELECT h FROM unnest(v_hidden) h WHERE v_old ->> h IS DISTINCT FROM v_new ->> h);
    v_old := v_old - v_hidden;
    v_new := v_new - v_hidden;
  END IF;

  -- rows of one subject that have no row lock in common, as two dates of a resource, may come at once: who is second waits
  LOOP
    INSERT INTO audit_log (
      subject_type, subject_id, event, action_type, old_values, new_values, hidden_changes,
      performed_by, performed_by_id, ip_address, user_agent, reason, request_id, xid
    )
    VALUES (
      v_subject,
      COALESCE(v_new ->> 'id', v_old ->> 'id', v_new ->> 'resource_id', v_old ->> 'resource_id', v_new ->> 'name',
        v_old ->> 'name'),
      v_event,
      v_action,
      v_old,
      v_new,
      v_hidden_changes,
      COALESCE(v_actor ->> 'type', 'database'),
      COALESCE(v_actor ->> 'id', session_user),
      (v_actor ->> 'ip')::inet,
      v_actor ->> 'user_agent',
      v_actor ->> 'reason',
      v_actor ->> 'request_id',
      CASE WHEN event_type(v_event) IS NOT NULL THEN pg_current_xact_id() END
    )
    ON CONFLICT (subject_type, subject_id, position) DO NOTHING;
    EXIT WHEN FOUND;
  END LOOP;
  RETURN NULL;
END
$$""",
        r"""-- Promises: one audit row per changed row, with the state before and after and who did it, in the same transaction.
-- Called by the *_write_audit triggers with the subject's name and the columns that must not be copied here; with
-- `subject.action` where the row itself does not say what happened. An event also gets its transaction's number.
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
  v_subject text := split_part(TG_ARGV[0], '.', 1);
  v_action text := COALESCE(NULLIF(split_part(TG_ARGV[0], '.', 2), ''), audit_action(v_old, v_new));
  v_event text := v_subject || '.' || v_action;
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
    performed_by, performed_by_id, ip_address, user_agent, reason, request_id, xid
  )
  VALUES (
    v_subject,
    COALESCE(v_new ->> 'id', v_old ->> 'id', v_new ->> 'resource_id', v_old ->> 'resource_id', v_new ->> 'name',
      v_old ->> 'name'),
    v_event,
    v_action,
    v_old,
    v_new,
    v_hidden_changes,
    COALESCE(v_actor ->> 'type', 'database'),
    COALESCE(v_actor ->> 'id', session_user),
    (v_actor ->> 'ip')::inet,
    v_actor ->> 'user_agent',
    v_actor ->> 'reason',
    v_actor ->> 'request_id',
    CASE WHEN event_type(v_event) IS NOT NULL THEN pg_current_xact_id() END
  );
  RETURN NULL;
END
$$""",
    ),
    Change(
        "triggers/audit_dropped_refuse_change",
        None,
        r"""CREATE OR REPLACE TRIGGER audit_dropped_refuse_change
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_dropped
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
    Change(
        "triggers/audit_log_chain",
        r"""CREATE OR REPLACE TRIGGER audit_log_chain
BEFORE INSERT ON audit_log
FOR EACH ROW
EXECUTE FUNCTION audit_log_chain()""",
        r"""CREATE OR REPLACE TRIGGER audit_log_chain
BEFORE INSERT ON audit_log
FOR EACH ROW
EXECUTE FUNCTION audit_log_chain()""",
    ),
    Change(
        "triggers/audit_log_deliver_event",
        r"""-- Events alone: nothing else is delivered.
CREATE OR REPLACE TRIGGER audit_log_deliver_event
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (NEW.xid IS NOT NULL)
EXECUTE FUNCTION deliver_event()""",
        r"""-- Events alone: nothing else is delivered.
CREATE OR REPLACE TRIGGER audit_log_deliver_event
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (NEW.xid IS NOT NULL)
EXECUTE FUNCTION deliver_event()""",
    ),
    Change(
        "triggers/audit_log_guard_update",
        r"""CREATE OR REPLACE TRIGGER audit_log_guard_update
BEFORE UPDATE ON audit_log
FOR EACH ROW
EXECUTE FUNCTION audit_log_guard_update()""",
        r"""CREATE OR REPLACE TRIGGER audit_log_guard_update
BEFORE UPDATE ON audit_log
FOR EACH ROW
EXECUTE FUNCTION audit_log_guard_update()""",
    ),
    Change(
        "triggers/audit_log_make_messages",
        r"""-- What nobody is told of costs no call.
CREATE OR REPLACE TRIGGER audit_log_make_messages
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (
  NEW.event IN (
    'booking.created', 'booking.confirmed', 'booking.rescheduled', 'booking.cancelled', 'booking.expired',
    'booking.failed', 'prebooking.succeeded', 'prebooking.failed'
  )
)
EXECUTE FUNCTION audit_log_make_messages()""",
        r"""-- What nobody is told of costs no call.
CREATE OR REPLACE TRIGGER audit_log_make_messages
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (
  NEW.event IN (
    'booking.created', 'booking.confirmed', 'booking.rescheduled', 'booking.cancelled', 'booking.expired',
    'booking.failed', 'prebooking.succeeded', 'prebooking.failed'
  )
)
EXECUTE FUNCTION audit_log_make_messages()""",
    ),
    Change(
        "triggers/audit_log_refuse_change",
        r"""-- Append-only; audit_log_guard_update says of updates. Retention is the owner's deliberate act: disabling this by name.
CREATE OR REPLACE TRIGGER audit_log_refuse_change
BEFORE DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
        r"""-- Append-only; audit_log_guard_update says of updates. Each partition has one for itself: add_audit_partition makes it.
CREATE OR REPLACE TRIGGER audit_log_refuse_change
BEFORE DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT
EXECUTE FUNCTION refuse_change()""",
    ),
]


def upgrade() -> None:
    # reads the table while everybody writes; what comes then does not read it again
    for name in ("audit_log_bound_check", "audit_log_address_check"):
        op.execute(f"-- squawk-ignore constraint-missing-not-valid\nALTER TABLE audit_log VALIDATE CONSTRAINT {name}")
    op.execute("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE")
    for statement in LEAVE_THE_TABLE:
        op.execute(statement)
    frozen.upgrade([change for change in CHANGES if change.name == "functions/add_audit_partition"])
    op.execute(BECOME_A_PARTITION)
    frozen.upgrade(CHANGES)
    op.execute("SELECT make_audit_partitions()")


def downgrade() -> None:
    op.execute("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE")
    for statement in LEAVE_THE_TABLE:
        op.execute(statement)
    op.execute("DROP FUNCTION audit_address_hash(audit_log)")
    op.execute("DROP FUNCTION forgotten_audit_entry(audit_log)")
    op.execute(BECOME_ONE_TABLE)
    frozen.downgrade(CHANGES)
