-- Promises: the slots with these ids, legacy ones too, as availability answers them; ids of no slot are left out.
-- Called by GET /v1/slots. Raises: 22023 for an unknown time zone.
CREATE OR REPLACE FUNCTION given_slots(
  p_slot_ids uuid[], p_tz text DEFAULT NULL, p_units integer DEFAULT 1, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_timezone text := set_answer_timezone(
    ARRAY(SELECT DISTINCT s.resource_id FROM slots s WHERE s.id = ANY (p_slot_ids)), p_tz
  );
BEGIN
  RETURN json_build_object(
    'timezone', v_timezone,
    'slots', COALESCE(
      (SELECT json_agg(to_json(o)) FROM slot_offers(NULL, NULL, NULL, p_slot_ids, p_units, p_now) o), '[]'
    )
  );
END
$$
