-- Promises: an opaque, URL-safe word for "after this row". Called by the list functions; read_cursor reads it back.
CREATE OR REPLACE FUNCTION make_cursor(p_at timestamptz, p_id uuid)
RETURNS text
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN encode(
    convert_to(to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || ' ' || p_id, 'UTF8'), 'hex'
  );
END
$$
