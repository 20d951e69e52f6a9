-- pg_cron alone: what the database does by itself, done by the database, with no HTTP and no secret.
--
-- It does no jobs of your own queues: those need a worker or one of the other callers. All may run side by side.
--
-- For Holdfast's own database, as the role that owns its schema; run it again to change anything. It needs, in
-- postgresql.conf and with a restart:
--
--   shared_preload_libraries = 'pg_cron'
--   cron.database_name = 'holdfast'      # the database that DATABASE_URL names
--   cron.use_background_workers = on     # or let pg_cron log in: cron.host, pg_hba.conf and .pgpass
--
-- and once, as a superuser: CREATE EXTENSION pg_cron; GRANT USAGE ON SCHEMA cron TO the role that owns the schema.
-- With another DB_SCHEMA, write its name for `holdfast.` below; with another JOBS_KEEP_DAYS or JOBS_KEEP_DISCARDED_DAYS,
-- give them to prune_jobs as p_keep and p_keep_discarded; DELIVERIES_KEEP_DAYS, MESSAGES_KEEP_DAYS and PREBOOKINGS_KEEP_DAYS to
-- prune_deliveries, prune_messages and forget_provider_answers as p_keep. Customers are erased by jobs (CUSTOMERS_KEEP_DAYS), which
-- are none of these.
--
-- Each statement is scheduled by itself, so that each is a transaction of its own: together they would hold what one has
-- locked until all were done, and one that fails would undo the rest. What is busy, they skip.

-- first what somebody waits for: once a minute
SELECT cron.schedule('holdfast-rescue-jobs', '* * * * *', $$SELECT holdfast.rescue_jobs(p_limit => 500)$$);
SELECT cron.schedule('holdfast-expire-due-bookings', '* * * * *',
  $$SELECT holdfast.expire_due_bookings(p_actor => '{"type": "system", "id": "pg_cron"}', p_limit => 500)$$);
SELECT cron.schedule('holdfast-complete-due-bookings', '* * * * *',
  $$SELECT holdfast.complete_due_bookings(p_actor => '{"type": "system", "id": "pg_cron"}', p_limit => 500)$$);
SELECT cron.schedule('holdfast-close-waitlists', '* * * * *',
  $$SELECT holdfast.close_waitlists(p_actor => '{"type": "system", "id": "pg_cron"}', p_limit => 500)$$);
SELECT cron.schedule('holdfast-remind-due-bookings', '* * * * *',
  $$SELECT holdfast.remind_due_bookings(p_actor => '{"type": "system", "id": "pg_cron"}', p_limit => 500)$$);
SELECT cron.schedule('holdfast-remind-due-auto-syncs', '* * * * *',
  $$SELECT holdfast.remind_due_auto_syncs(p_actor => '{"type": "system", "id": "pg_cron"}', p_limit => 500)$$);
SELECT cron.schedule('holdfast-pause-due-auto-syncs', '* * * * *',
  $$SELECT holdfast.pause_due_auto_syncs(p_actor => '{"type": "system", "id": "pg_cron"}', p_limit => 500)$$);
SELECT cron.schedule('holdfast-sweep-messages', '* * * * *', $$SELECT holdfast.sweep_messages(p_limit => 500)$$);
SELECT cron.schedule('holdfast-sweep-prebookings', '* * * * *',
  $$SELECT holdfast.sweep_prebookings(p_actor => '{"type": "system", "id": "pg_cron"}', p_limit => 500)$$);

-- all schedules of a zone fall due at its midnight, and each is a transaction of its own: see the function
SELECT cron.schedule('holdfast-refresh-due-schedules', '* * * * *', $cron$DO $$
BEGIN
  FOR v_turn IN 1..500 LOOP
    EXIT WHEN holdfast.refresh_due_schedules(p_actor => '{"type": "system", "id": "pg_cron"}', p_limit => 1) = 0;
    COMMIT;
  END LOOP;
END
$$
$cron$);

-- that somebody comes at all: /readyz/jobs and `holdfast jobs` look for it
SELECT cron.schedule('holdfast-record-job-run', '* * * * *',
  $$SELECT holdfast.record_job_run(p_instance_id => 'pg_cron', p_caller => 'pg_cron', p_report => '{}', p_is_over => true)$$);

-- then what nobody waits for
SELECT cron.schedule('holdfast-backfill-jobs', '*/5 * * * *',
  $$SELECT holdfast.backfill_jobs(p_limit => 500, p_every => '1 hour')$$);
SELECT cron.schedule('holdfast-backfill-audit-chain', '*/5 * * * *',
  $$SELECT holdfast.backfill_audit_chain(p_limit => 2000)$$);
SELECT cron.schedule('holdfast-make-audit-partitions', '*/5 * * * *', $$SELECT holdfast.make_audit_partitions()$$);
SELECT cron.schedule('holdfast-forget-audit-addresses', '*/5 * * * *',
  $$SELECT holdfast.forget_audit_addresses(p_limit => 2000, p_keep => '365 days')$$);
-- the audit trail is kept for ever; for two years, a month that is older goes by
--   SELECT cron.schedule('holdfast-drop-audit-month', '*/5 * * * *',
--     $$SELECT holdfast.drop_audit_month(p_actor => '{"type": "system", "id": "pg_cron"}', p_limit => 2000, p_keep_months => 24)$$);
SELECT cron.schedule('holdfast-prune-jobs', '*/5 * * * *', $$SELECT holdfast.prune_jobs(p_limit => 2000)$$);
SELECT cron.schedule('holdfast-prune-deliveries', '*/5 * * * *',
  $$SELECT holdfast.prune_deliveries(p_limit => 2000)$$);
SELECT cron.schedule('holdfast-prune-messages', '*/5 * * * *', $$SELECT holdfast.prune_messages(p_limit => 2000)$$);
SELECT cron.schedule('holdfast-forget-provider-answers', '*/5 * * * *',
  $$SELECT holdfast.forget_provider_answers(p_actor => '{"type": "system", "id": "pg_cron"}', p_limit => 2000)$$);
SELECT cron.schedule('holdfast-prune-job-runs', '*/5 * * * *', $$SELECT holdfast.prune_job_runs(p_limit => 2000)$$);
SELECT cron.schedule('holdfast-prune-idempotency-keys', '*/5 * * * *',
  $$SELECT holdfast.prune_idempotency_keys(p_limit => 2000)$$);
SELECT cron.schedule('holdfast-prune-rate-limits', '*/5 * * * *',
  $$SELECT holdfast.prune_rate_limits(p_limit => 2000)$$);
SELECT cron.schedule('holdfast-forget-pg-cron-runs', '17 3 * * *',
  $$DELETE FROM cron.job_run_details d
  USING cron.job j
  WHERE j.jobid = d.jobid AND j.jobname LIKE 'holdfast-%' AND d.end_time < now() - interval '3 days'$$);

-- How it goes:
--   SELECT jobname, status, return_message, d.start_time FROM cron.job_run_details d JOIN cron.job USING (jobid)
--   ORDER BY d.start_time DESC LIMIT 20;
-- And to end it:
--   SELECT cron.unschedule(jobname) FROM cron.job WHERE jobname LIKE 'holdfast-%';
