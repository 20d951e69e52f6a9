-- Promises: one page of the jobs that pass every filter, in order of creation, which is that of their ids, and the next
-- page's cursor. Called by GET /v1/jobs. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_jobs(
  p_status text DEFAULT NULL,
  p_job_type text DEFAULT NULL,
  p_queue text DEFAULT NULL,
  p_booking_id uuid DEFAULT NULL,
  p_limit integer DEFAULT 50,
  p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page jobs[];
BEGIN
  v_page := ARRAY(
    SELECT j
    FROM jobs j
    WHERE j.id > v_after.id
      AND (p_status IS NULL OR j.status = p_status)
      AND (p_job_type IS NULL OR j.job_type = p_job_type)
      AND (p_queue IS NULL OR j.queue = p_queue)
      AND (p_booking_id IS NULL OR j.booking_id = p_booking_id)
    ORDER BY j.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE((SELECT json_agg(job_json(j) ORDER BY j.id) FROM unnest(v_page[:p_limit]) j), '[]'),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$
