-- Supabase: pg_cron calls Holdfast over HTTP through pg_net, once a minute.
--
-- For the SQL editor, as `postgres`; needs pg_cron, pg_net 0.12 or newer, and Vault. Put your address in below. Before it,
-- put the secret into the vault, on the dashboard and not by SQL, which may be logged: name `holdfast_cron_secret`, value
-- CRON_SECRET or a key of scope `cron`. Run it again to change anything.
--
-- Only the function process_jobs() reads the secret here. It runs as a role that nobody can log in as and nobody is a
-- member of, and whom to call stands in it: a caller who could choose the address would be sent the secret.
--
-- One gap is pg_net's own: until a request is sent, its headers lie in net.http_request_queue, which every role of the
-- database may read. So never put `net` among the API's exposed schemas, and never give pg_net an admin key.

BEGIN;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'holdfast_cron') THEN
    CREATE ROLE holdfast_cron NOLOGIN NOINHERIT;
  END IF;
END
$$;

GRANT USAGE ON SCHEMA vault TO holdfast_cron;
GRANT SELECT ON vault.decrypted_secrets TO holdfast_cron;
-- a view calls its functions as whoever reads it
GRANT EXECUTE ON FUNCTION vault._crypto_aead_det_decrypt TO holdfast_cron;

-- only as long as it takes to make what the role owns
GRANT holdfast_cron TO SESSION_USER;
CREATE SCHEMA IF NOT EXISTS holdfast_cron AUTHORIZATION holdfast_cron;
SET LOCAL ROLE holdfast_cron;

CREATE OR REPLACE FUNCTION holdfast_cron.process_jobs()
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
  v_secret text;
BEGIN
  SELECT s.decrypted_secret INTO v_secret FROM vault.decrypted_secrets s WHERE s.name = 'holdfast_cron_secret';
  IF v_secret IS NULL THEN
    RAISE EXCEPTION 'the vault has no holdfast_cron_secret';
  END IF;
  RETURN net.http_post(
    url => 'https://holdfast.example.com/cron/process-jobs',
    headers => jsonb_build_object('Authorization', 'Bearer ' || v_secret, 'Content-Type', 'application/json'),
    timeout_milliseconds => 15000
  );
END
$$;

REVOKE ALL ON SCHEMA holdfast_cron FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION holdfast_cron.process_jobs() FROM PUBLIC, anon, authenticated, service_role;
GRANT USAGE ON SCHEMA holdfast_cron TO SESSION_USER;
GRANT EXECUTE ON FUNCTION holdfast_cron.process_jobs() TO SESSION_USER;

RESET ROLE;
REVOKE holdfast_cron FROM SESSION_USER;

SELECT cron.schedule('holdfast-process-jobs', '* * * * *', 'SELECT holdfast_cron.process_jobs()');
SELECT cron.schedule(
  'holdfast-forget-pg-cron-runs',
  '17 3 * * *',
  $$DELETE FROM cron.job_run_details d
  USING cron.job j
  WHERE j.jobid = d.jobid AND j.jobname LIKE 'holdfast-%' AND d.end_time < now() - interval '3 days'$$
);

COMMIT;

-- What came back, for six hours:
--   SELECT created, status_code, error_msg, content FROM net._http_response ORDER BY created DESC LIMIT 5;
-- And to end it:
--   SELECT cron.unschedule(jobname) FROM cron.job WHERE jobname LIKE 'holdfast-%';
