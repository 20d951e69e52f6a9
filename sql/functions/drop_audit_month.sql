-- Promises: the oldest month with rows in the audit trail, if it ended p_keep_months before this one began, is gone, and an entry
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
$$
