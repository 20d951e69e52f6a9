-- Promises: the place a cursor stands for; the start of the list where there is none. Called by the list functions.
-- Raises: a data exception (class 22) for text that make_cursor did not make.
CREATE OR REPLACE FUNCTION read_cursor(p_cursor text, OUT at timestamptz, OUT id uuid)
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_text text := convert_from(decode(p_cursor, 'hex'), 'UTF8');
BEGIN
  at := COALESCE(split_part(v_text, ' ', 1)::timestamptz, '-infinity');
  id := COALESCE(split_part(v_text, ' ', 2)::uuid, '00000000-0000-0000-0000-000000000000');
END
$$
