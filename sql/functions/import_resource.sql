-- Promises: the id of the resource that an import row names by external id, id or name; a new one if none does.
-- Called by import_booking.
CREATE OR REPLACE FUNCTION import_resource(p_resource text, p_timezone text, p_now timestamptz DEFAULT now())
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_id uuid;
BEGIN
  SELECT r.id INTO v_id FROM resources r WHERE r.external_id = p_resource;
  IF NOT FOUND THEN
    SELECT r.id INTO v_id
    FROM resources r
    WHERE p_resource IN (r.id::text, r.name)
    ORDER BY r.id::text = p_resource DESC, r.created_at
    LIMIT 1;
  END IF;
  IF FOUND THEN
    RETURN v_id;
  END IF;

  INSERT INTO resources AS r (name, external_id, timezone, created_at, updated_at)
  VALUES (p_resource, p_resource, p_timezone, p_now, p_now)
  ON CONFLICT (external_id) DO UPDATE SET updated_at = r.updated_at
  RETURNING r.id INTO v_id;
  RETURN v_id;
END
$$
