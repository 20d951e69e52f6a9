-- Promises: what is known under that name of who acts in this transaction, or null. Called by the row-level policies of
-- sql/roles/rows.txt, and by acting_customer.
CREATE OR REPLACE FUNCTION acting(p_what text)
RETURNS text
LANGUAGE sql
STABLE PARALLEL SAFE
-- on a reused connection an unset setting reads '', not NULL
RETURN NULLIF(current_setting('holdfast.actor', true), '')::jsonb ->> p_what
