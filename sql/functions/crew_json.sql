-- Promises: the one JSON shape of a crew. Called by create_crew, get_crew and list_crews.
CREATE OR REPLACE FUNCTION crew_json(p_crew crews)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'id', p_crew.id,
    'name', p_crew.name,
    'organizer_ref', (SELECT c.ref FROM customers c WHERE c.id = p_crew.organizer_id),
    'members', (SELECT count(*) FROM crew_members m WHERE m.crew_id = p_crew.id AND m.left_at IS NULL),
    'metadata', p_crew.metadata,
    'created_at', p_crew.created_at,
    'updated_at', p_crew.updated_at
  );
END
$$
