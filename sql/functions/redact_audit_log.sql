-- Promises: the trail says nothing personal of a customer: rows of the customer's own are emptied, and of what else came of the
-- same transactions and requests, or was done by the customer, where from and why. An entry of the trail names each of them and
-- the hash of what stands there now. Answers their ids. Called by erase_customer, with the customer's row locked.
CREATE OR REPLACE FUNCTION redact_audit_log(p_actor jsonb, p_customer customers, p_ref text)
RETURNS bigint[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_state jsonb := to_jsonb(p_customer) - '{name,email,phone}'::text[];
  v_own bigint[];
  v_ids bigint[];
  v_erased audit_log[];
  v_entry_id bigint;
BEGIN
  -- each by its index: what an erasure reads grows with the customer's rows, not with the trail
  v_own := ARRAY(SELECT * FROM customer_audit_entries(p_customer.id));
  v_ids := ARRAY(
    SELECT unnest(v_own)
    UNION
    SELECT a.id FROM audit_log a WHERE a.performed_by_id LIKE 'customer:%' AND a.performed_by_id = 'customer:' || p_ref
    UNION
    SELECT a.id FROM audit_log a WHERE a.xid = ANY (ARRAY(SELECT o.xid FROM audit_log o WHERE o.id = ANY (v_own)))
    UNION
    -- a caller may name all its requests alike: those of another time are others
    SELECT r.id
    FROM audit_log o
    CROSS JOIN LATERAL (
      SELECT a.id
      FROM audit_log a
      WHERE a.request_id = o.request_id
        AND a.created_at BETWEEN o.created_at - interval '1 hour' AND o.created_at + interval '1 hour'
      OFFSET 0
    ) r
    WHERE o.id = ANY (v_own)
  );
  v_erased := ARRAY(
    SELECT erased_audit_entry(a, a.id = ANY (v_own)) FROM audit_log a WHERE a.id = ANY (v_ids) ORDER BY a.id
  );
  INSERT INTO audit_log (
    subject_type, subject_id, event, action_type, old_values, new_values, performed_by, performed_by_id, reason
  )
  SELECT 'customer', p_customer.id, 'customer.erased', 'erased', '{}', v_state || jsonb_build_object(
    'emptied', COALESCE(jsonb_object_agg(e.id, encode(audit_hash(e), 'hex')), '{}')
  ), p_actor ->> 'type', p_actor ->> 'id', p_actor ->> 'reason'
  FROM unnest(v_erased) e
  RETURNING id INTO v_entry_id;

  PERFORM set_config('holdfast.erasure', v_entry_id::text, true);
  UPDATE audit_log a
  SET old_values = e.old_values, new_values = e.new_values, performed_by_id = e.performed_by_id, reason = e.reason,
      ip_address = e.ip_address, user_agent = e.user_agent, request_id = e.request_id, address_salt = NULL, address_hash = NULL
  FROM unnest(v_erased) e
  WHERE a.id = e.id AND a.created_at = e.created_at;
  RETURN ARRAY(SELECT e.id FROM unnest(v_erased) e);
END
$$
