-- Promises: all rows of the batch are in, or none; answers for each row, in order, 'created' or 'unchanged'.
-- Called by `holdfast import bookings`, which goes row by row through a batch that was refused.
CREATE OR REPLACE FUNCTION import_bookings(p_actor jsonb, p_rows jsonb, p_now timestamptz DEFAULT now())
RETURNS text[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_row jsonb;
  v_outcomes text[] := ARRAY[]::text[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  FOR v_row IN SELECT jsonb_array_elements(p_rows) LOOP
    v_outcomes := v_outcomes || import_booking(v_row, p_now);
  END LOOP;
  RETURN v_outcomes;
END
$$
