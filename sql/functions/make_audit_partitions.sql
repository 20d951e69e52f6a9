-- Promises: this month of the audit trail and the three after it have partitions; what was written while they had none, in the
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
$$
