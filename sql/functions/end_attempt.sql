-- Promises: what came of an attempt is on record; what was unclear, or not there yet, may become clear; what is clear
-- stays. Called by the handler of execute_prebooking.
CREATE OR REPLACE FUNCTION end_attempt(
  p_attempt_id uuid,
  p_finding text,
  p_detail text DEFAULT NULL,
  p_confirmation text DEFAULT NULL,
  p_fired_at timestamptz DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  UPDATE prebooking_attempts a
  SET finding = p_finding,
      detail = left(p_detail, 500),
      confirmation = left(p_confirmation, 500),
      fired_at = COALESCE(p_fired_at, a.fired_at),
      ended_at = p_now
  WHERE a.id = p_attempt_id AND COALESCE(a.finding IN ('unknown', 'absent'), true);
END
$$
