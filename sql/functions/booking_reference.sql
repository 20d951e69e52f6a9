-- Promises: a short reference a person can read out, unlike its neighbours; never the same for two numbers below 2^35.
-- Called by the default of bookings.reference. Multiplying by an odd number permutes the residues of a power of two,
-- so uniqueness comes from the sequence and needs no retry. A reference names a booking; it is not a secret.
CREATE OR REPLACE FUNCTION booking_reference(p_number bigint)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE STRICT PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  -- Crockford's base 32: no I, L, O, U, so nothing is misread aloud
  v_alphabet constant text := '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  v_scrambled bigint := (((p_number & 34359738367)::numeric * 22695477001) % 34359738368)::bigint;
  v_reference text := '';
BEGIN
  FOR v_digit IN 0..6 LOOP
    v_reference := substr(v_alphabet, ((v_scrambled >> (5 * v_digit)) & 31)::integer + 1, 1) || v_reference;
  END LOOP;
  RETURN v_reference;
END
$$
