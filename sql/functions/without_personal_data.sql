-- Promises: the state of an audited row without what a customer or a frontend put into it; the rest as it was. Twice is once.
-- Called by erased_audit_entry. What erase_customer leaves of bookings, customers and prebookings looks the same.
CREATE OR REPLACE FUNCTION without_personal_data(p_state jsonb)
RETURNS jsonb
LANGUAGE plpgsql
IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN COALESCE((
    SELECT jsonb_object_agg(e.key, CASE
      WHEN e.key = 'metadata' THEN '{}'
      WHEN e.key IN ('ref', 'language', 'timezone', 'legal_hold_reason', 'detail', 'confirmation', 'check_detail') THEN 'null'
      -- a provider takes whatever it wants to know of a customer
      WHEN e.key = 'targets' AND p_state ->> 'provider' IS NOT NULL
        THEN (SELECT jsonb_agg('{}'::jsonb) FROM jsonb_array_elements(e.value))
      WHEN e.key = 'target' AND p_state ->> 'provider' IS NOT NULL THEN '{}'
      ELSE e.value
    END)
    FROM jsonb_each(p_state) e
  ), p_state);
END
$$
