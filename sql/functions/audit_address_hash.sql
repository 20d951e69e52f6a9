-- Promises: what the hash of an audit row is made of in place of an address and a user agent, so that it stays true when these
-- are forgotten: their salted SHA-256, which nobody undoes by trying all addresses. Null for rows from before salts, of which
-- they themselves are hashed. Called by audit_hash and forgotten_audit_entry.
CREATE OR REPLACE FUNCTION audit_address_hash(p_entry audit_log)
RETURNS bytea
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN CASE
  WHEN p_entry.address_salt IS NULL THEN p_entry.address_hash
  ELSE sha256(p_entry.address_salt
    || convert_to(json_build_array(text(p_entry.ip_address), p_entry.user_agent)::text, 'UTF8'))
END
