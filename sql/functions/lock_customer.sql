-- Promises: the row of the customer whom find_customer finds, locked until the transaction ends against everything that names it.
-- Called by erase_customer, put_legal_hold and delete_legal_hold. Locks: the customer. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION lock_customer(p_customer_ref text)
RETURNS customers
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  SELECT * INTO v_customer
  FROM customers c
  -- an erasure that this waited for leaves the id as it was
  WHERE c.id = (SELECT find_customer(p_customer_ref)) AND c.erased_at IS NULL
  FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'customer_not_found' USING ERRCODE = 'SB037', DETAIL = '{}';
  END IF;
  RETURN v_customer;
END
$$
