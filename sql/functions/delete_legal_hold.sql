-- Promises: the customer may be erased again; without a hold nothing changes. Called by DELETE /v1/customers/{ref}/legal-hold.
-- Locks: the customer. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION delete_legal_hold(p_actor jsonb, p_customer_ref text, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_customer := lock_customer(p_customer_ref);
  UPDATE customers c
  SET legal_hold_since = NULL, legal_hold_reason = NULL, updated_at = p_now
  WHERE c.id = v_customer.id AND c.legal_hold_since IS NOT NULL;
END
$$
