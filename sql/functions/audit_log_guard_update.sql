-- Promises: of an audit row nothing changes but this: one that was not chained gets its true place in the chain; one loses
-- address and user agent, and its hash stays true; and one loses its personal data, if an entry of the trail that
-- `holdfast.erasure` names says of this row that it is so from now on. Called by trigger audit_log_guard_update.
-- Raises: SB012 change_refused.
CREATE OR REPLACE FUNCTION audit_log_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_chained audit_log := OLD;
BEGIN
  v_chained.position := NEW.position;
  v_chained.prev_hash := NEW.prev_hash;
  v_chained.hash := audit_hash(NEW);
  IF OLD.position IS NULL AND NEW.position IS NOT NULL AND v_chained IS NOT DISTINCT FROM NEW THEN
    RETURN NEW;
  END IF;

  IF OLD.address_salt IS NOT NULL AND NEW IS NOT DISTINCT FROM forgotten_audit_entry(OLD) THEN
    RETURN NEW;
  END IF;

  IF (NEW IS NOT DISTINCT FROM erased_audit_entry(OLD, true) OR NEW IS NOT DISTINCT FROM erased_audit_entry(OLD, false))
    AND EXISTS (
      SELECT FROM audit_log e
      WHERE e.id = NULLIF(current_setting('holdfast.erasure', true), '')::bigint AND e.event = 'customer.erased'
        AND e.new_values -> 'emptied' ->> OLD.id::text = encode(audit_hash(NEW), 'hex')
    )
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'change_refused' USING ERRCODE = 'SB012',
    DETAIL = json_build_object('table', 'audit_log', 'operation', 'update');
END
$$
