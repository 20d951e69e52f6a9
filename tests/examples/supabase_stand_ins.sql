-- STAND-INS for what Supabase brings: the names, signatures and grants of its schemas `vault`, `net` and `cron` and of its
-- roles. Nothing here is encrypted, sent or scheduled. For tests of examples/cron/supabase.sql alone.

CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN;
CREATE ROLE stranger LOGIN;
-- no superuser there either
CREATE ROLE postgres LOGIN CREATEROLE;

DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO postgres', current_database()); END $$;

CREATE SCHEMA vault;
CREATE TABLE vault.secrets (name text UNIQUE, secret bytea NOT NULL);
CREATE FUNCTION vault._crypto_aead_det_decrypt(message bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS 'SELECT message';
CREATE VIEW vault.decrypted_secrets AS
  SELECT s.name, convert_from(vault._crypto_aead_det_decrypt(s.secret), 'utf8') AS decrypted_secret FROM vault.secrets s;
REVOKE EXECUTE ON FUNCTION vault._crypto_aead_det_decrypt FROM PUBLIC;
GRANT USAGE ON SCHEMA vault TO postgres WITH GRANT OPTION;
GRANT SELECT ON vault.decrypted_secrets TO postgres WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION vault._crypto_aead_det_decrypt TO postgres WITH GRANT OPTION;

CREATE SCHEMA net;
CREATE TABLE net.http_request_queue (id bigserial, url text, headers jsonb, body jsonb, timeout_milliseconds integer);
CREATE FUNCTION net.http_post(
  url text,
  body jsonb DEFAULT '{}',
  params jsonb DEFAULT '{}',
  headers jsonb DEFAULT '{"Content-Type": "application/json"}',
  timeout_milliseconds integer DEFAULT 5000
)
RETURNS bigint
LANGUAGE sql
AS $$
  INSERT INTO net.http_request_queue (url, headers, body, timeout_milliseconds)
  VALUES (url, headers, body, timeout_milliseconds)
  RETURNING id
$$;
GRANT USAGE ON SCHEMA net TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA net TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA net TO PUBLIC;

CREATE SCHEMA cron;
CREATE TABLE cron.job (
  jobid bigserial, jobname text, schedule text, command text, username text DEFAULT current_user, UNIQUE (jobname, username)
);
CREATE TABLE cron.job_run_details (jobid bigint, end_time timestamptz);
CREATE FUNCTION cron.schedule(job_name text, schedule text, command text)
RETURNS bigint
LANGUAGE sql
AS $$
  INSERT INTO cron.job (jobname, schedule, command) VALUES (job_name, schedule, command)
  ON CONFLICT (jobname, username) DO UPDATE SET schedule = EXCLUDED.schedule, command = EXCLUDED.command
  RETURNING jobid
$$;
GRANT USAGE ON SCHEMA cron TO postgres;
GRANT ALL ON ALL TABLES IN SCHEMA cron TO postgres;
GRANT ALL ON ALL SEQUENCES IN SCHEMA cron TO postgres;
