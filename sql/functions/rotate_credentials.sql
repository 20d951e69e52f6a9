-- Promises: each of these credentials is under the key p_key_id, unless its ciphertext is not the one that was read:
-- somebody was faster, and wins. No secret changes, so no version does. Answers how many it moved.
-- Called by `holdfast keys rotate`. Locks: credentials by id.
CREATE OR REPLACE FUNCTION rotate_credentials(
  p_actor jsonb, p_key_id text, p_ids uuid[], p_old_nonces bytea[], p_nonces bytea[], p_ciphertexts bytea[]
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_rotated integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- two that rotate at once take the rows in one order
  PERFORM FROM provider_credentials c WHERE c.id = ANY (p_ids) ORDER BY c.id FOR NO KEY UPDATE;
  -- a nonce is never used twice, so it stands for its ciphertext
  UPDATE provider_credentials c
  SET key_id = p_key_id, nonce = n.nonce, ciphertext = n.ciphertext
  FROM unnest(p_ids, p_old_nonces, p_nonces, p_ciphertexts) AS n (id, old_nonce, nonce, ciphertext)
  WHERE c.id = n.id AND c.nonce = n.old_nonce;
  GET DIAGNOSTICS v_rotated = ROW_COUNT;
  RETURN v_rotated;
END
$$
