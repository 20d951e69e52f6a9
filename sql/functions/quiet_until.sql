-- Promises: when it is loud again in a zone, where the clocks there stand between these two times; null where it is loud.
-- The hours may pass midnight. Called by begin_message.
CREATE OR REPLACE FUNCTION quiet_until(p_timezone text, p_from time, p_to time, p_now timestamptz DEFAULT now())
RETURNS timestamptz
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_local timestamp := p_now AT TIME ZONE p_timezone;
  v_is_quiet boolean := CASE
    WHEN p_from <= p_to THEN v_local::time >= p_from AND v_local::time < p_to
    ELSE v_local::time >= p_from OR v_local::time < p_to
  END;
BEGIN
  RETURN CASE
    WHEN v_is_quiet THEN (v_local::date + (v_local::time >= p_to)::integer + p_to) AT TIME ZONE p_timezone
  END;
END
$$
