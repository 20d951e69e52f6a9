-- Promises: the crews of the customer who acts in this transaction, whoever asks; none where no customer does.
-- Called by the row-level policies, as the owner of the tables: under the policies themselves it would ask for ever.
CREATE OR REPLACE FUNCTION own_crews()
RETURNS SETOF uuid
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
  -- on a reused connection an unset setting reads '', not NULL
  SELECT crews_of(NULLIF(current_setting('holdfast.actor', true), '')::jsonb ->> 'customer_ref')
$$
