-- Promises: one audit row per changed row, with the state before and after and who did it, in the same transaction.
-- Called by the *_write_audit triggers with the subject's name and the columns that must not be copied here; with
-- `subject.action` where the row itself does not say what happened. An event also gets its transaction's number, and is told.
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
  v_subject text := TG_ARGV[0];
  v_action text := 'created';
  v_event text;
  v_hidden text[];
  v_hidden_changes text[];
  v_id bigint;
  v_created_at timestamptz;
  v_is_told boolean;
BEGIN
  -- most rows are of something new: what need not be asked of them is not made ready either, which takes longer than asking
  IF TG_OP <> 'INSERT' THEN
    v_subject := split_part(TG_ARGV[0], '.', 1);
    v_action := COALESCE(NULLIF(split_part(TG_ARGV[0], '.', 2), ''), audit_action(v_old, v_new));
  END IF;
  v_event := v_subject || '.' || v_action;
  IF TG_NARGS > 1 THEN
    v_hidden := TG_ARGV[1:];
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
  )
  -- asked here: a trigger of the trail that finds nobody to tell costs as much as an index
  RETURNING id, created_at, xid IS NOT NULL
    AND (EXISTS (SELECT FROM webhook_endpoints) OR EXISTS (SELECT FROM message_channels h WHERE h.is_enabled))
  INTO v_id, v_created_at, v_is_told;

  IF v_is_told THEN
    PERFORM enqueue_deliveries(a), make_event_messages(a)
    FROM audit_log a
    WHERE a.id = v_id AND a.created_at = v_created_at;
  END IF;
  RETURN NULL;
END
$$
