-- Promises: the customer is erased, if nothing happened with them for p_keep up to now; false, and nothing done, if something did.
-- Called by the job of the same name. Locks: what erase_customer locks. Raises: SB035 legal_hold, SB036 customer_active, where that
-- came in the meantime.
CREATE OR REPLACE FUNCTION erase_idle_customer(
  p_actor jsonb, p_customer_id uuid, p_keep interval, p_now timestamptz DEFAULT now()
)
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_since timestamptz := p_now - p_keep;
BEGIN
  IF NOT EXISTS (SELECT FROM customers c WHERE c.id = p_customer_id AND is_idle_customer(c, v_since)) THEN
    RETURN false;
  END IF;
  PERFORM erase_customer(
    p_actor, 'id:' || p_customer_id, 'nothing happened since ' || v_since::date, p_now => p_now, p_idle_since => v_since
  );
  RETURN true;
END
$$
