-- Promises: whether somebody acts in this transaction, and as no customer: an admin, a frontend, the system.
-- Called by the row-level policies, which hide every row where nobody acts.
CREATE OR REPLACE FUNCTION acts_for_everybody()
RETURNS boolean
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN CASE COALESCE(current_setting('holdfast.actor', true), '')
  WHEN '' THEN false
  ELSE current_setting('holdfast.actor', true)::jsonb ->> 'customer_ref' IS NULL
END
