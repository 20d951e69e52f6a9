-- Promises: these times are proposed, in this order: those of slots at the resource, or any where there is none, all of them
-- to come. Called by create_auto_sync. Raises: SB034 invalid_times.
CREATE OR REPLACE FUNCTION propose_times(
  p_auto_sync_id uuid, p_resource_id uuid, p_times jsonb, p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_proposed bigint;
BEGIN
  INSERT INTO auto_sync_times (auto_sync_id, position, starts_at, ends_at, slot_id)
  SELECT p_auto_sync_id, t.position, o.starts_at, o.ends_at, o.slot_id
  FROM jsonb_array_elements(p_times) WITH ORDINALITY t (proposed, position)
  CROSS JOIN LATERAL (
    SELECT s.starts_at, s.ends_at, s.id
    FROM slots s
    WHERE s.id = (t.proposed ->> 'slot_id')::uuid AND s.resource_id = p_resource_id AND NOT s.is_legacy
    UNION ALL
    SELECT (t.proposed ->> 'starts_at')::timestamptz, (t.proposed ->> 'ends_at')::timestamptz, NULL
    WHERE p_resource_id IS NULL AND t.proposed ->> 'slot_id' IS NULL
  ) o (starts_at, ends_at, slot_id)
  WHERE o.starts_at > p_now;
  GET DIAGNOSTICS v_proposed = ROW_COUNT;
  IF v_proposed < jsonb_array_length(p_times) THEN
    RAISE EXCEPTION 'invalid_times' USING ERRCODE = 'SB034',
      DETAIL = json_build_object('resource_id', p_resource_id, 'times', p_times);
  END IF;
END
$$
