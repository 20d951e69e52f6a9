-- Promises: the id of the customer who acts in this transaction, or null where none does. Called by the row-level policies,
-- with more rights than who asks: under the policies themselves it would ask for ever.
CREATE OR REPLACE FUNCTION acting_customer()
RETURNS uuid
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (SELECT c.id FROM customers c WHERE c.ref = acting('customer_ref'));
END
$$
