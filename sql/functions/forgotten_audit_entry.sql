-- Promises: an audit row without address and user agent, and with what its hash needs in their place: the hash stays true.
-- Called by forget_audit_addresses and audit_log_guard_update.
CREATE OR REPLACE FUNCTION forgotten_audit_entry(p_entry audit_log)
RETURNS audit_log
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_forgotten audit_log := p_entry;
BEGIN
  v_forgotten.address_hash := audit_address_hash(p_entry);
  v_forgotten.address_salt := NULL;
  v_forgotten.ip_address := NULL;
  v_forgotten.user_agent := NULL;
  RETURN v_forgotten;
END
$$
