-- Promises: no row of a customer's own says anything personal any more; that it was there, when, and what it came to, stays.
-- Called by erase_customer, with the customer's row locked. Locks: prebookings, bookings, then jobs and what hangs on them.
CREATE OR REPLACE FUNCTION erase_customer_rows(p_customer_id uuid, p_ref text, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_ids text[];
  v_jobs uuid[];
BEGIN
  UPDATE prebookings p
  SET targets = CASE
        WHEN p.provider IS NULL THEN p.targets
        ELSE (SELECT jsonb_agg('{}'::jsonb) FROM jsonb_array_elements(p.targets))
      END,
      confirmation = NULL, detail = NULL, updated_at = p_now
  WHERE p.customer_id = p_customer_id;
  UPDATE prebooking_attempts a SET detail = NULL, confirmation = NULL
  FROM prebookings p
  WHERE p.customer_id = p_customer_id AND a.prebooking_id = p.id;
  UPDATE bookings b SET metadata = '{}', updated_at = p_now WHERE b.customer_id = p_customer_id AND b.metadata <> '{}';
  UPDATE messages m SET detail = NULL, provider_ref = NULL, language = NULL, updated_at = p_now
  WHERE m.customer_id = p_customer_id;
  UPDATE crew_members m SET left_at = p_now WHERE m.customer_id = p_customer_id AND m.left_at IS NULL;
  DELETE FROM provider_credentials c WHERE c.customer_id = p_customer_id;
  UPDATE calendar_feeds f SET revoked_at = p_now WHERE f.customer_id = p_customer_id AND f.revoked_at IS NULL;

  v_ids := ARRAY(
    SELECT s.subject_id FROM customer_subjects(p_customer_id) s
    UNION ALL
    SELECT m.id::text FROM messages m WHERE m.customer_id = p_customer_id
  );
  v_jobs := ARRAY(
    SELECT j.id FROM jobs j
    WHERE j.booking_id::text = ANY (v_ids)
      OR EXISTS (SELECT FROM unnest(v_ids) i WHERE strpos(j.dedupe_key || j.payload::text, i) > 0)
    ORDER BY j.id
  );
  UPDATE jobs j
  SET payload = CASE WHEN j.status IN ('pending', 'processing') THEN j.payload ELSE '{}' END,
      result = NULL, error_message = NULL
  WHERE j.id = ANY (v_jobs);
  UPDATE job_attempts a SET error_message = NULL WHERE a.job_id = ANY (v_jobs);

  DELETE FROM idempotency_keys k
  WHERE k.principal = 'customer:' || p_ref
    OR k.response ->> 'customer_ref' = p_ref
    OR EXISTS (SELECT FROM unnest(v_ids) i WHERE strpos(k.response::text, i) > 0);
END
$$
