-- Promises: the customer that a booking is for: who a customer's own token names, whatever the request says; else the
-- one in the request. Called by every entry function that takes a customer.
CREATE OR REPLACE FUNCTION own_customer(p_actor jsonb, p_customer jsonb)
RETURNS jsonb
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN p_customer || CASE
  WHEN p_actor ->> 'customer_ref' IS NULL THEN '{}'
  ELSE jsonb_build_object('ref', p_actor ->> 'customer_ref')
END
