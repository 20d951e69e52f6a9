-- Promises: an audit row without personal data: where from and why, and which customer did it; and with
-- p_is_own the states, which are of a customer's own. Its place and hash stay: the hash is of what once stood there.
-- Called by redact_audit_log and audit_log_guard_update. Twice is once.
CREATE OR REPLACE FUNCTION erased_audit_entry(p_entry audit_log, p_is_own boolean)
RETURNS audit_log
LANGUAGE plpgsql
IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_erased audit_log := p_entry;
BEGIN
  v_erased.ip_address := NULL;
  v_erased.user_agent := NULL;
  v_erased.address_salt := NULL;
  v_erased.address_hash := NULL;
  v_erased.request_id := NULL;
  v_erased.reason := NULL;
  IF p_entry.performed_by_id LIKE 'customer:%' THEN
    v_erased.performed_by_id := 'customer:erased';
  END IF;
  IF p_is_own THEN
    v_erased.old_values := without_personal_data(p_entry.old_values);
    v_erased.new_values := without_personal_data(p_entry.new_values);
  END IF;
  RETURN v_erased;
END
$$
