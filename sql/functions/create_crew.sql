-- Promises: a crew without members, and who organizes it. Called by POST /v1/crews.
-- Locks: customer (if it changes), then the new crew.
CREATE OR REPLACE FUNCTION create_crew(
  p_actor jsonb,
  p_name text,
  p_organizer jsonb DEFAULT NULL,
  p_metadata jsonb DEFAULT '{}',
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_crew crews;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO crews (name, organizer_id, metadata, created_at, updated_at)
  VALUES (
    p_name, CASE WHEN p_organizer IS NOT NULL THEN upsert_customer(p_organizer, p_now) END, p_metadata, p_now, p_now
  )
  RETURNING * INTO v_crew;
  RETURN crew_json(v_crew);
END
$$
