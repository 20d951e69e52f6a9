-- Promises: a day before a prebooking opens it is looked whether its customer's credentials still let them in.
-- Called by prebookings_sync_jobs. Nothing where it opens sooner: they were looked at when they were stored.
CREATE OR REPLACE FUNCTION check_credentials_before(p_prebooking prebookings)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_before CONSTANT interval := interval '24 hours';
BEGIN
  PERFORM enqueue_job(
    'check_credentials',
    jsonb_build_object('credentials_id', c.id),
    p_prebooking.opens_at - c_before,
    c.id || ' ' || p_prebooking.id,
    provider_queue(c.provider),
    p_now => p_prebooking.updated_at
  )
  FROM provider_credentials c
  WHERE c.provider = p_prebooking.provider AND c.customer_id = p_prebooking.customer_id
    AND p_prebooking.opens_at > p_prebooking.updated_at + c_before;
END
$$
