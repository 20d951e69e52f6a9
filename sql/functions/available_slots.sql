-- Promises: the slots of these resources that start in [p_from, p_to), by start, and an ETag that changes when any of
-- them does; no body where the caller has that one already: then nothing but slots was read, and no JSON made.
-- Called by GET /v1/available-slots. Raises: SB009 resource_not_found, 22023 for an unknown time zone.
CREATE OR REPLACE FUNCTION available_slots(
  p_resource_ids uuid[] DEFAULT NULL,
  p_from timestamptz DEFAULT NULL,
  p_to timestamptz DEFAULT NULL,
  p_tz text DEFAULT NULL,
  p_units integer DEFAULT 1,
  p_etags text[] DEFAULT '{}',
  p_now timestamptz DEFAULT now(),
  -- an app one version older names a single resource, and takes the first column
  p_resource_id uuid DEFAULT NULL
)
RETURNS TABLE (body json, etag text)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_resource_ids uuid[] := COALESCE(p_resource_ids, ARRAY[p_resource_id]);
  v_timezone text := set_answer_timezone(v_resource_ids, p_tz);
BEGIN
  RETURN QUERY
    WITH offers AS MATERIALIZED (
      SELECT * FROM slot_offers(v_resource_ids, p_from, p_to, NULL, p_units, p_now)
    ), tag AS (
      SELECT to_hex(COALESCE(bit_xor(hash_record_extended(o, 0)), 0) # hashtextextended(v_timezone, count(*))) AS etag
      FROM offers o
    )
    SELECT
      CASE
        WHEN t.etag <> ALL (p_etags) THEN json_build_object(
          'resource_id', CASE WHEN cardinality(v_resource_ids) = 1 THEN v_resource_ids[1] END,
          'timezone', v_timezone,
          'slots', COALESCE((SELECT json_agg(to_json(o)) FROM offers o), '[]')
        )
      END,
      t.etag
    FROM tag t;
END
$$
