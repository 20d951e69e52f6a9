-- Promises: from here on this transaction sees rows of that customer alone, as far as policies bind it; where none is given,
-- it sees what whoever acts already may, or everybody's where nobody acts yet. Called first by the functions that read for a
-- customer.
CREATE OR REPLACE FUNCTION act_for(p_customer_ref text)
RETURNS text
LANGUAGE sql
VOLATILE
RETURN set_config(
  'holdfast.actor',
  (
    COALESCE(NULLIF(current_setting('holdfast.actor', true), '')::jsonb, '{}')
    || CASE WHEN p_customer_ref IS NULL THEN '{}' ELSE jsonb_build_object('customer_ref', p_customer_ref) END
  )::text,
  true
)
