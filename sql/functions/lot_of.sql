-- Promises: the lot of a prebooking in a draw: the least goes first; none without a draw. Anybody who knows the seed can
-- work it out. Called by run_openings. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION lot_of(p_seed text, p_prebooking_id uuid)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN encode(sha256(convert_to(p_seed || ' ' || p_prebooking_id, 'UTF8')), 'hex')
