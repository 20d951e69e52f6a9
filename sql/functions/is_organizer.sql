-- Promises: whether whoever acts may change a crew of this organizer: a customer, if it is theirs; anybody else may.
-- Called by lock_crew and lock_auto_sync.
CREATE OR REPLACE FUNCTION is_organizer(p_actor jsonb, p_organizer_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN p_actor ->> 'customer_ref' IS NULL OR EXISTS (
    SELECT FROM customers c WHERE c.id = p_organizer_id AND c.ref = p_actor ->> 'customer_ref'
  );
END
$$
