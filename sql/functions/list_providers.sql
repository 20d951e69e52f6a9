-- Promises: every provider, by name; there are never many. Called by GET /v1/providers.
CREATE OR REPLACE FUNCTION list_providers()
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'items', COALESCE((SELECT json_agg(provider_json(p) ORDER BY p.name) FROM providers p), '[]')
  );
END
$$
