-- Promises: nothing that tells who the customer was is left in the database, and what it recounts and has on record stands: how
-- many bookings there were, when, and that they were this customer's. With p_idle_since, only if nothing happened since. Called by
-- POST /v1/customers/{ref}/erase and erase_idle_customer. Locks: crews, prebookings, customer, bookings, jobs. Raises: SB010
-- idempotency_conflict, SB035 legal_hold, SB036 customer_active, SB037 customer_not_found.
CREATE OR REPLACE FUNCTION erase_customer(
  p_actor jsonb, p_customer_ref text, p_reason text, p_idempotency_key text DEFAULT NULL, p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now(), p_idle_since timestamptz DEFAULT NULL
)
RETURNS TABLE (body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_actor jsonb := p_actor || jsonb_build_object('reason', p_reason);
  v_id uuid;
  v_ref text;
  v_customer customers;
  v_emptied bigint[];
BEGIN
  PERFORM set_config('holdfast.actor', v_actor::text, true);
  v_id := find_customer(p_customer_ref);
  PERFORM FROM crews w
  WHERE w.id IN (SELECT m.crew_id FROM crew_members m WHERE m.customer_id = v_id)
  ORDER BY w.id
  FOR NO KEY UPDATE;
  PERFORM FROM prebookings p WHERE p.customer_id = v_id ORDER BY p.id FOR UPDATE;
  -- a twin of this request waits here, and then finds nobody
  PERFORM FROM customers c WHERE c.id = v_id FOR UPDATE;
  body := replay_request(p_actor ->> 'id', 'erase_customer', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF replayed THEN
    RETURN NEXT;
    RETURN;
  END IF;
  v_customer := lock_customer('id:' || v_id);
  v_ref := v_customer.ref;
  PERFORM require_erasable(v_customer, p_now);
  IF p_idle_since IS NOT NULL AND NOT is_idle_customer(v_customer, p_idle_since) THEN
    RAISE EXCEPTION 'customer_active' USING ERRCODE = 'SB036', DETAIL = json_build_object('since', p_idle_since);
  END IF;

  PERFORM erase_customer_rows(v_customer.id, v_ref, p_now);
  UPDATE customers c
  SET ref = NULL, name = NULL, email = NULL, phone = NULL, language = NULL, timezone = NULL, erased_at = p_now,
      updated_at = p_now
  WHERE c.id = v_customer.id
  RETURNING * INTO v_customer;
  v_emptied := redact_audit_log(v_actor, v_customer, v_ref);
  UPDATE deliveries d SET last_answer = NULL, last_error = NULL WHERE d.audit_id = ANY (v_emptied);
  UPDATE delivery_attempts t SET answer = NULL, error = NULL
  FROM deliveries d
  WHERE d.audit_id = ANY (v_emptied) AND t.delivery_id = d.id;

  body := json_build_object(
    'customer_id', v_customer.id, 'erased_at', p_now, 'audit_entries_emptied', cardinality(v_emptied)
  );
  PERFORM remember_request(p_actor ->> 'id', 'erase_customer', p_idempotency_key, p_request_hash, body, p_now);
  RETURN NEXT;
END
$$
