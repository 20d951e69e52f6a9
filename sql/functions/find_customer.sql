-- Promises: the id of the customer whom a path names: by `id:` and a UUID the one with that id, by anything else the one with
-- that ref; null where there is none, or it was erased. Called by erase_customer, export_customer and lock_customer.
CREATE OR REPLACE FUNCTION find_customer(p_customer text)
RETURNS uuid
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_id uuid := substring(p_customer FROM '^id:([[:xdigit:]]{8}(?:-[[:xdigit:]]{4}){3}-[[:xdigit:]]{12})$')::uuid;
BEGIN
  IF v_id IS NULL THEN
    RETURN (SELECT c.id FROM customers c WHERE c.ref = p_customer);
  END IF;
  RETURN (SELECT c.id FROM customers c WHERE c.id = v_id AND c.erased_at IS NULL);
END
$$
