-- Promises: nobody erases the customer until the hold is taken away; one that is held already keeps its date. Called by
-- PUT /v1/customers/{ref}/legal-hold. Locks: the customer. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION put_legal_hold(
  p_actor jsonb, p_customer_ref text, p_reason text, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_customer := lock_customer(p_customer_ref);
  UPDATE customers c
  SET legal_hold_since = COALESCE(c.legal_hold_since, p_now), legal_hold_reason = p_reason, updated_at = p_now
  WHERE c.id = v_customer.id
  RETURNING * INTO v_customer;
  RETURN json_build_object(
    'customer_id', v_customer.id,
    'customer_ref', v_customer.ref,
    'since', v_customer.legal_hold_since,
    'reason', v_customer.legal_hold_reason
  );
END
$$
