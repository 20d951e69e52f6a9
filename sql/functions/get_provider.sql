-- Promises: one provider as the API answers it. Called by GET /v1/providers/{name} and functions that need it to exist.
-- Raises: SB022 provider_not_found.
CREATE OR REPLACE FUNCTION get_provider(p_name text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_provider providers;
BEGIN
  SELECT * INTO v_provider FROM providers p WHERE p.name = p_name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'provider_not_found' USING ERRCODE = 'SB022', DETAIL = json_build_object('provider', p_name);
  END IF;
  RETURN provider_json(v_provider);
END
$$
