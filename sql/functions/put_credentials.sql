-- Promises: these are the customer's credentials at the provider, in place of older ones, unchecked; and a job to check
-- them waits. Called by PUT /v1/credentials/{provider}, with what it encrypted for that customer and provider.
-- Locks: customer (if it is new), credentials, job. Raises: SB022 provider_not_found.
CREATE OR REPLACE FUNCTION put_credentials(
  p_actor jsonb,
  p_provider text,
  p_customer_ref text,
  p_key_id text,
  p_nonce bytea,
  p_ciphertext bytea,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer jsonb := own_customer(p_actor, jsonb_build_object('ref', p_customer_ref));
  v_customer_id uuid;
  v_credentials provider_credentials;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_provider(p_provider);
  v_customer_id := upsert_customer(v_customer, p_now);
  INSERT INTO provider_credentials AS c (provider, customer_id, key_id, nonce, ciphertext, created_at, updated_at)
  VALUES (p_provider, v_customer_id, p_key_id, p_nonce, p_ciphertext, p_now, p_now)
  ON CONFLICT (provider, customer_id) DO UPDATE
    SET key_id = EXCLUDED.key_id,
        nonce = EXCLUDED.nonce,
        ciphertext = EXCLUDED.ciphertext,
        status = 'unchecked',
        checked_at = NULL,
        check_detail = NULL,
        version = c.version + 1,
        updated_at = EXCLUDED.updated_at
  RETURNING * INTO v_credentials;
  PERFORM enqueue_job(
    'check_credentials',
    jsonb_build_object('credentials_id', v_credentials.id),
    p_dedupe_key => v_credentials.id::text,
    p_queue => provider_queue(p_provider),
    p_now => p_now
  );
  RETURN credentials_json(v_credentials, v_customer ->> 'ref');
END
$$
