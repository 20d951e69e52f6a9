"""credentials are stored encrypted checked and put under new keys.

Revision ID: 0014
Revises: 0013
"""

from migrations import frozen
from migrations.frozen import Change

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/credentials_by_key",
        None,
        r"""-- Promises: how many credentials are under each key. Called by `holdfast keys rotate` and `holdfast doctor`.
CREATE OR REPLACE FUNCTION credentials_by_key()
RETURNS TABLE (key_id text, credentials bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT c.key_id, count(*) FROM provider_credentials c GROUP BY c.key_id ORDER BY c.key_id
$$""",
    ),
    Change(
        "functions/credentials_json",
        None,
        r"""-- Promises: the one JSON shape of credentials, without anything of the secret.
-- Called by put_credentials and list_credentials.
CREATE OR REPLACE FUNCTION credentials_json(p_credentials provider_credentials, p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'provider', p_credentials.provider,
    'customer_ref', p_customer_ref,
    'status', p_credentials.status,
    'checked_at', p_credentials.checked_at,
    'check_detail', p_credentials.check_detail,
    'created_at', p_credentials.created_at,
    'updated_at', p_credentials.updated_at
  );
END
$$""",
    ),
    Change(
        "functions/delete_credentials",
        None,
        r"""-- Promises: the customer has no credentials at the provider any more. Called by DELETE /v1/credentials/{provider}.
-- A job that was to check them finds nothing. Locks: credentials. Raises: SB023 credentials_not_found.
CREATE OR REPLACE FUNCTION delete_credentials(p_actor jsonb, p_provider text, p_customer_ref text)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_ref text := own_customer(p_actor, jsonb_build_object('ref', p_customer_ref)) ->> 'ref';
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  DELETE FROM provider_credentials c
  WHERE c.provider = p_provider AND c.customer_id = (SELECT u.id FROM customers u WHERE u.ref = v_ref);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'credentials_not_found' USING ERRCODE = 'SB023',
      DETAIL = json_build_object('provider', p_provider, 'customer_ref', v_ref);
  END IF;
END
$$""",
    ),
    Change(
        "functions/get_provider",
        None,
        r"""-- Promises: one provider as the API answers it. Called by GET /v1/providers/{name} and functions that need it to exist.
-- Raises: SB022 provider_not_found.
CREATE OR REPLACE FUNCTION get_provider(p_name text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_provider providers;
BEGIN
  SELECT * INTO v_provider FROM providers p WHERE p.name = p_name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'provider_not_found' USING ERRCODE = 'SB022', DETAIL = json_build_object('provider', p_name);
  END IF;
  RETURN provider_json(v_provider);
END
$$""",
    ),
    Change(
        "functions/list_credentials",
        None,
        r"""-- Promises: one page of the credentials that pass every filter, in order of creation, and the next page's cursor or null;
-- nothing of a secret. Called by GET /v1/credentials. Planned anew each time: the filters decide which index serves.
CREATE OR REPLACE FUNCTION list_credentials(
  p_customer_ref text DEFAULT NULL, p_provider text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page provider_credentials[];
BEGIN
  v_page := ARRAY(
    SELECT c
    FROM provider_credentials c
    WHERE (c.created_at, c.id) > (v_after.at, v_after.id)
      AND (p_customer_ref IS NULL OR c.customer_id = (SELECT u.id FROM customers u WHERE u.ref = p_customer_ref))
      AND (p_provider IS NULL OR c.provider = p_provider)
    ORDER BY c.created_at, c.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(credentials_json(c, u.ref) ORDER BY c.created_at, c.id)
        FROM unnest(v_page[:p_limit]) c
        JOIN customers u ON u.id = c.customer_id
      ),
      '[]'
    ),
    'next_cursor',
    CASE WHEN cardinality(v_page) > p_limit THEN make_cursor(v_page[p_limit].created_at, v_page[p_limit].id) END
  );
END
$$""",
    ),
    Change(
        "functions/list_providers",
        None,
        r"""-- Promises: every provider, by name; there are never many. Called by GET /v1/providers.
CREATE OR REPLACE FUNCTION list_providers()
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN json_build_object(
    'items', COALESCE((SELECT json_agg(provider_json(p) ORDER BY p.name) FROM providers p), '[]')
  );
END
$$""",
    ),
    Change(
        "functions/old_credentials",
        None,
        r"""-- Promises: the next credentials, by id, that are not under the key p_key_id. Called by `holdfast keys rotate`.
CREATE OR REPLACE FUNCTION old_credentials(p_key_id text, p_after uuid, p_limit integer)
RETURNS TABLE (
  credentials_id uuid, provider text, customer_ref text, key_id text, nonce bytea, ciphertext bytea
)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT c.id, c.provider, u.ref, c.key_id, c.nonce, c.ciphertext
  FROM provider_credentials c
  JOIN customers u ON u.id = c.customer_id
  WHERE c.key_id <> p_key_id AND c.id > p_after
  ORDER BY c.id
  LIMIT p_limit
$$""",
    ),
    Change(
        "functions/provider_json",
        None,
        r"""-- Promises: the one JSON shape of a provider, with the limits of its queue. Called by every function that answers one.
CREATE OR REPLACE FUNCTION provider_json(p_provider providers)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_queue job_queues;
BEGIN
  SELECT * INTO v_queue FROM job_queues q WHERE q.name = provider_queue(p_provider.name);
  RETURN json_build_object(
    'name', p_provider.name,
    'adapter', p_provider.adapter,
    'settings', p_provider.settings,
    'timezone', p_provider.timezone,
    'booking_window_days', p_provider.booking_window_days,
    'opens_at_local', to_char(p_provider.opens_at_local, 'HH24:MI'),
    'queue', provider_queue(p_provider.name),
    'stagger_ms', COALESCE(v_queue.stagger_ms, 0),
    'max_running', v_queue.max_running,
    'is_enabled', p_provider.is_enabled,
    'version', p_provider.version,
    'created_at', p_provider.created_at,
    'updated_at', p_provider.updated_at
  );
END
$$""",
    ),
    Change(
        "functions/provider_queue",
        None,
        r"""-- Promises: the queue in which jobs at that provider wait. Called by whatever enqueues one or limits them.
CREATE OR REPLACE FUNCTION provider_queue(p_provider text)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN 'provider:' || p_provider""",
    ),
    Change(
        "functions/put_credentials",
        None,
        r"""-- Promises: these are the customer's credentials at the provider, in place of older ones, unchecked; and a job to check
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
  v_credentials provider_credentials;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_provider(p_provider);
  INSERT INTO provider_credentials AS c (provider, customer_id, key_id, nonce, ciphertext, created_at, updated_at)
  VALUES (p_provider, upsert_customer(v_customer, p_now), p_key_id, p_nonce, p_ciphertext, p_now, p_now)
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
$$""",
    ),
    Change(
        "functions/put_provider",
        None,
        r"""-- Promises: the provider has these rules and its queue these limits, or neither has; the same again changes nothing.
-- Called by PUT /v1/providers/{name}. Locks: provider, then its queue. Raises: 22023 for a time zone Postgres does not know.
CREATE OR REPLACE FUNCTION put_provider(
  p_actor jsonb,
  p_name text,
  p_adapter text,
  p_settings jsonb,
  p_timezone text,
  p_booking_window_days integer DEFAULT NULL,
  p_opens_at_local time DEFAULT '00:00',
  p_is_enabled boolean DEFAULT true,
  p_max_running integer DEFAULT NULL,
  p_stagger_ms integer DEFAULT 50,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO providers AS p (
    name, adapter, settings, timezone, booking_window_days, opens_at_local, is_enabled, created_at, updated_at
  )
  VALUES (
    p_name, p_adapter, p_settings, p_timezone, p_booking_window_days, p_opens_at_local, p_is_enabled, p_now, p_now
  )
  ON CONFLICT (name) DO UPDATE
    SET adapter = EXCLUDED.adapter,
        settings = EXCLUDED.settings,
        timezone = EXCLUDED.timezone,
        booking_window_days = EXCLUDED.booking_window_days,
        opens_at_local = EXCLUDED.opens_at_local,
        is_enabled = EXCLUDED.is_enabled,
        version = p.version + 1,
        updated_at = EXCLUDED.updated_at
    WHERE (p.adapter, p.settings, p.timezone, p.booking_window_days, p.opens_at_local, p.is_enabled) IS DISTINCT FROM
      (EXCLUDED.adapter, EXCLUDED.settings, EXCLUDED.timezone, EXCLUDED.booking_window_days, EXCLUDED.opens_at_local,
       EXCLUDED.is_enabled);
  PERFORM put_queue(p_actor, provider_queue(p_name), p_max_running, p_stagger_ms, p_now);
  RETURN get_provider(p_name);
END
$$""",
    ),
    Change(
        "functions/record_credentials_check",
        None,
        r"""-- Promises: what the provider said of the credentials is on record, if they are still the ones it was asked about; else
-- nothing, for the job of newer ones will tell. Answers whether it is. Called by the handler that checks them.
-- Locks: credentials.
CREATE OR REPLACE FUNCTION record_credentials_check(
  p_actor jsonb,
  p_credentials_id uuid,
  p_version integer,
  p_status text,
  p_detail text,
  p_now timestamptz DEFAULT now()
)
RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE provider_credentials c
  SET status = p_status, checked_at = p_now, check_detail = NULLIF(p_detail, ''), updated_at = p_now
  WHERE c.id = p_credentials_id AND c.version = p_version;
  RETURN FOUND;
END
$$""",
    ),
    Change(
        "functions/rotate_credentials",
        None,
        r"""-- Promises: each of these credentials is under the key p_key_id, unless its ciphertext is not the one that was read:
-- somebody was faster, and wins. No secret changes, so no version does. Answers how many it moved.
-- Called by `holdfast keys rotate`. Locks: credentials by id.
CREATE OR REPLACE FUNCTION rotate_credentials(
  p_actor jsonb, p_key_id text, p_ids uuid[], p_old_nonces bytea[], p_nonces bytea[], p_ciphertexts bytea[]
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_rotated integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- two that rotate at once take the rows in one order
  PERFORM FROM provider_credentials c WHERE c.id = ANY (p_ids) ORDER BY c.id FOR NO KEY UPDATE;
  -- a nonce is never used twice, so it stands for its ciphertext
  UPDATE provider_credentials c
  SET key_id = p_key_id, nonce = n.nonce, ciphertext = n.ciphertext
  FROM unnest(p_ids, p_old_nonces, p_nonces, p_ciphertexts) AS n (id, old_nonce, nonce, ciphertext)
  WHERE c.id = n.id AND c.nonce = n.old_nonce;
  GET DIAGNOSTICS v_rotated = ROW_COUNT;
  RETURN v_rotated;
END
$$""",
    ),
    Change(
        "functions/stored_credentials",
        None,
        r"""-- Promises: credentials as they are stored, whose they are, and the provider they are for; no row where they are gone.
-- Called by the handler that checks them.
CREATE OR REPLACE FUNCTION stored_credentials(p_credentials_id uuid)
RETURNS TABLE (
  credentials_id uuid,
  credentials_version integer,
  provider text,
  customer_ref text,
  key_id text,
  nonce bytea,
  ciphertext bytea,
  adapter text,
  settings jsonb,
  is_enabled boolean
)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT c.id, c.version, c.provider, u.ref, c.key_id, c.nonce, c.ciphertext, p.adapter, p.settings, p.is_enabled
  FROM provider_credentials c
  JOIN customers u ON u.id = c.customer_id
  JOIN providers p ON p.name = c.provider
  WHERE c.id = p_credentials_id
$$""",
    ),
    Change(
        "triggers/provider_credentials_write_audit",
        None,
        r"""-- No ciphertext outlives its key here, nor the customer's wish to delete it: the trail is kept for good.
CREATE OR REPLACE TRIGGER provider_credentials_write_audit
AFTER INSERT OR UPDATE OR DELETE ON provider_credentials
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('credentials', 'nonce', 'ciphertext')""",
    ),
    Change(
        "triggers/providers_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER providers_write_audit
AFTER INSERT OR UPDATE OR DELETE ON providers
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('provider')""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)


def downgrade() -> None:
    frozen.downgrade(CHANGES)
