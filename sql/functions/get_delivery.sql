-- Promises: one delivery with every attempt at it, oldest first. Called by GET /v1/deliveries/{id}.
-- Raises: SB028 delivery_not_found.
CREATE OR REPLACE FUNCTION get_delivery(p_delivery_id uuid)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_delivery deliveries;
BEGIN
  SELECT * INTO v_delivery FROM deliveries d WHERE d.id = p_delivery_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'delivery_not_found' USING ERRCODE = 'SB028',
      DETAIL = json_build_object('delivery_id', p_delivery_id);
  END IF;
  RETURN to_jsonb(delivery_json(v_delivery)) || jsonb_build_object('attempts', (
    SELECT COALESCE(jsonb_agg(to_jsonb(a) - 'delivery_id' ORDER BY a.attempt), '[]')
    FROM delivery_attempts a
    WHERE a.delivery_id = p_delivery_id
  ));
END
$$
