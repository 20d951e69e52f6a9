-- Promises: what the next checkpoint states, for whoever signs it: that up to an id the trail is so and so. Null while rows may
-- still be added up to there, for which it takes what audit_mark said, and while some are not chained. Called by the making of
-- checkpoints.
CREATE OR REPLACE FUNCTION draft_audit_checkpoint(p_up_to bigint, p_before xid8, p_now timestamptz DEFAULT now())
RETURNS text
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  IF pg_snapshot_xmin(pg_current_snapshot()) < p_before
    OR EXISTS (SELECT FROM audit_log a WHERE a.position IS NULL AND a.id <= p_up_to)
  THEN
    RETURN NULL;
  END IF;
  RETURN (
    SELECT jsonb_build_object(
      'number', COALESCE(max(c.number), 0) + 1,
      'up_to', p_up_to,
      'previous', max(c.digest) FILTER (WHERE c.is_newest),
      'digest', audit_digest(max(c.digest) FILTER (WHERE c.is_newest), ARRAY(SELECT h FROM new_audit_heads(p_up_to) h)),
      'made_at', to_char(p_now AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    )::text
    FROM (SELECT x.*, x.number = max(x.number) OVER () AS is_newest FROM audit_checkpoints x) c
  );
END
$$
