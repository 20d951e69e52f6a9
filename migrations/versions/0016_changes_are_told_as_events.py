"""changes are told as events.

Revision ID: 0016
Revises: 0015
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/booking_history",
        r"""-- Promises: the audit trail of one booking, oldest first. Called by GET /v1/bookings/{id}/history.
-- Raises: SB005 booking_not_found.
CREATE OR REPLACE FUNCTION booking_history(p_booking_id uuid)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM get_booking(p_booking_id);
  RETURN json_build_object('items', (
    SELECT json_agg(to_json(a) ORDER BY a.id)
    FROM audit_log a
    WHERE a.subject_type = 'booking' AND a.subject_id = p_booking_id::text
  ));
END
$$""",
        r"""-- Promises: the audit trail of one booking, oldest first. Called by GET /v1/bookings/{id}/history.
-- Raises: SB005 booking_not_found.
CREATE OR REPLACE FUNCTION booking_history(p_booking_id uuid)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM get_booking(p_booking_id);
  RETURN json_build_object('items', (
    SELECT json_agg(to_json(e) ORDER BY e.id)
    FROM (
      SELECT a.id, a.subject_type, a.subject_id, a.event, a.action_type, a.old_values, a.new_values, a.hidden_changes,
        a.performed_by, a.performed_by_id, a.ip_address, a.user_agent, a.reason, a.request_id, a.created_at
      FROM audit_log a
      WHERE a.subject_type = 'booking' AND a.subject_id = p_booking_id::text
    ) AS e
  ));
END
$$""",
    ),
    Change(
        "functions/event_json",
        None,
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
    ),
    Change(
        "functions/event_type",
        None,
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
    ),
    Change(
        "functions/read_events",
        None,
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
        "triggers/slots_write_audit_when_full",
        None,
        r"""-- Not OF the counters alone: a limit that shrinks to what is booked fills a slot too.
CREATE OR REPLACE TRIGGER slots_write_audit_when_full
AFTER UPDATE OF booked_bookings, booked_units, max_bookings, max_units ON slots
FOR EACH ROW
WHEN (
  (NEW.booked_bookings >= NEW.max_bookings OR NEW.booked_units >= NEW.max_units)
  AND (OLD.booked_bookings >= OLD.max_bookings OR OLD.booked_units >= OLD.max_units) IS NOT TRUE
)
EXECUTE FUNCTION write_audit_log('slot.full')""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
