"""customers are told of their bookings and reminded.

Revision ID: 0023
Revises: 0022
"""

from alembic import op

from migrations import frozen
from migrations.frozen import Change

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

CHANGES = [
    Change(
        "functions/arm_reminder",
        None,
        r"""-- Promises: a confirmed booking has one pending job, due at the next of its schedule's reminders, or none where none is to
-- come. Called by bookings_sync_reminders, put_schedule and remind_due_bookings, which hold the booking's row or have just
-- written it. Locks: the booking's job.
CREATE OR REPLACE FUNCTION arm_reminder(p_booking bookings, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_due_at timestamptz := (
    SELECT min(p_booking.starts_at - make_interval(mins => m))
    FROM schedules c
    CROSS JOIN unnest(c.reminder_minutes) AS m
    WHERE c.resource_id = p_booking.resource_id AND p_booking.starts_at - make_interval(mins => m) > p_now
  );
BEGIN
  IF v_due_at IS NULL THEN
    UPDATE jobs j
    SET status = 'cancelled', processed_at = p_now, updated_at = p_now
    WHERE j.dedupe_key = p_booking.id::text AND j.job_type = 'remind_booking' AND j.status = 'pending';
  ELSE
    INSERT INTO jobs AS j (job_type, dedupe_key, booking_id, scheduled_at, run_at, created_at, updated_at)
    VALUES ('remind_booking', p_booking.id::text, p_booking.id, v_due_at, v_due_at, p_now, p_now)
    ON CONFLICT (dedupe_key, job_type) WHERE status = 'pending' DO UPDATE
      SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at
      WHERE j.run_at <> EXCLUDED.run_at;
  END IF;
END
$$""",
    ),
    Change(
        "functions/audit_log_make_messages",
        None,
        r"""-- Promises: whoever booked is told what changed, by a message made in the transaction of the change, whoever made it.
-- Called by trigger audit_log_make_messages for the events of bookings and prebookings that may have a template.
CREATE OR REPLACE FUNCTION audit_log_make_messages()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_template text;
BEGIN
  IF NOT EXISTS (SELECT FROM message_channels h WHERE h.is_enabled) THEN
    RETURN NULL;
  END IF;
  v_template := message_template(NEW.event, NEW.new_values);
  IF v_template IS NOT NULL THEN
    PERFORM make_messages(
      v_template,
      (NEW.new_values ->> 'customer_id')::uuid,
      NEW.subject_type,
      NEW.subject_id::uuid,
      'evt_' || NEW.id,
      NEW.new_values ->> 'status',
      CASE NEW.subject_type WHEN 'booking' THEN (NEW.new_values ->> 'starts_at')::timestamptz END,
      NEW.created_at
    );
  END IF;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/begin_message",
        None,
        r"""-- Promises: that this message is about to be sent is on record before it is, by who holds its job and nobody else, if it
-- still tells the truth; and here is what sending it takes. Without a body it is skipped for a reason, or waits for the end
-- of quiet hours. Called by the handler of send_message. Locks: booking (shared), message, job (shared).
-- Raises: SB020 lease_lost.
CREATE OR REPLACE FUNCTION begin_message(
  p_message_id uuid,
  p_job_id uuid,
  p_lease_token bigint,
  p_quiet_from time DEFAULT NULL,
  p_quiet_to time DEFAULT NULL,
  p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS TABLE (skip_reason text, wait_until timestamptz, is_unclear boolean, sending_at timestamptz, body jsonb)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_message messages := (SELECT m FROM messages m WHERE m.id = p_message_id);
BEGIN
  skip_reason := message_reason(v_message, p_now);
  SELECT * INTO v_message FROM messages m WHERE m.id = p_message_id FOR NO KEY UPDATE;
  PERFORM FROM jobs j
  WHERE j.id = p_job_id AND j.lease_token = p_lease_token AND j.status = 'processing'
  FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'lease_lost' USING ERRCODE = 'SB020',
      DETAIL = json_build_object('job_id', p_job_id, 'lease_token', p_lease_token);
  END IF;

  is_unclear := v_message.status = 'sending';
  sending_at := v_message.sending_at;
  body := message_body(v_message);
  IF v_message.channel = 'sms' OR v_message.template = 'booking_reminder' THEN
    wait_until := quiet_until(body -> 'customer' ->> 'timezone', p_quiet_from, p_quiet_to, p_now);
  END IF;
  IF v_message.status IN ('sent', 'skipped') THEN
    skip_reason := COALESCE(v_message.reason, 'sent');
  -- of one that may have left, the handler asks first what became of it
  ELSIF skip_reason IS NOT NULL AND NOT is_unclear THEN
    UPDATE messages m SET status = 'skipped', reason = skip_reason, updated_at = p_now WHERE m.id = p_message_id;
  ELSIF skip_reason IS NULL AND wait_until IS NULL THEN
    UPDATE messages m
    SET status = 'sending', reason = NULL, detail = NULL, sending_at = COALESCE(m.sending_at, p_now), updated_at = p_now
    WHERE m.id = p_message_id;
  END IF;
  RETURN NEXT;
END
$$""",
    ),
    Change(
        "functions/bookings_sync_jobs",
        r"""-- Promises: a confirmed booking has one pending job that completes it at its end, a hold has one that expires it,
-- any other booking has none. Called by triggers bookings_sync_jobs_on_insert and _on_update, whoever writes.
-- Locks: jobs of this booking. No NOTIFY: it would serialise commits.
CREATE OR REPLACE FUNCTION bookings_sync_jobs()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_wanted text := CASE NEW.status WHEN 'confirmed' THEN 'complete_booking' WHEN 'pending' THEN 'expire_booking' END;
  v_due_at timestamptz := CASE NEW.status WHEN 'confirmed' THEN NEW.ends_at ELSE NEW.expires_at END;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    UPDATE jobs j
    SET
      -- a job whose booking got where it was to be taken is done; one whose booking went elsewhere is moot
      status = CASE
        WHEN j.job_type = 'complete_booking' AND NEW.status = 'completed' THEN 'processed'
        WHEN j.job_type = 'expire_booking' AND NEW.status = 'expired' THEN 'processed'
        ELSE 'cancelled'
      END,
      processed_at = NEW.updated_at,
      updated_at = NEW.updated_at
    WHERE j.dedupe_key = NEW.id::text AND j.status = 'pending' AND j.job_type IS DISTINCT FROM v_wanted;
  END IF;

  IF v_wanted IS NOT NULL THEN
    INSERT INTO jobs AS j (job_type, dedupe_key, booking_id, scheduled_at, run_at, created_at, updated_at)
    VALUES (v_wanted, NEW.id::text, NEW.id, v_due_at, v_due_at, NEW.updated_at, NEW.updated_at)
    ON CONFLICT (job_type, dedupe_key) WHERE status = 'pending' DO UPDATE
      SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at;
  END IF;
  RETURN NULL;
END
$$""",
        r"""-- Promises: a confirmed booking has one pending job that completes it at its end, a hold has one that expires it,
-- any other booking has none, and is reminded of no more. Called by triggers bookings_sync_jobs_on_insert and _on_update,
-- whoever writes. Locks: jobs of this booking. No NOTIFY: it would serialise commits.
CREATE OR REPLACE FUNCTION bookings_sync_jobs()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_wanted text := CASE NEW.status WHEN 'confirmed' THEN 'complete_booking' WHEN 'pending' THEN 'expire_booking' END;
  v_due_at timestamptz := CASE NEW.status WHEN 'confirmed' THEN NEW.ends_at ELSE NEW.expires_at END;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    UPDATE jobs j
    SET
      -- a job whose booking got where it was to be taken is done; one whose booking went elsewhere is moot
      status = CASE
        WHEN j.job_type = 'complete_booking' AND NEW.status = 'completed' THEN 'processed'
        WHEN j.job_type = 'expire_booking' AND NEW.status = 'expired' THEN 'processed'
        ELSE 'cancelled'
      END,
      processed_at = NEW.updated_at,
      updated_at = NEW.updated_at
    WHERE j.dedupe_key = NEW.id::text AND j.status = 'pending' AND j.job_type IS DISTINCT FROM v_wanted
      AND (j.job_type <> 'remind_booking' OR NEW.status <> 'confirmed');
  END IF;

  IF v_wanted IS NOT NULL THEN
    INSERT INTO jobs AS j (job_type, dedupe_key, booking_id, scheduled_at, run_at, created_at, updated_at)
    VALUES (v_wanted, NEW.id::text, NEW.id, v_due_at, v_due_at, NEW.updated_at, NEW.updated_at)
    ON CONFLICT (job_type, dedupe_key) WHERE status = 'pending' DO UPDATE
      SET scheduled_at = EXCLUDED.scheduled_at, run_at = EXCLUDED.run_at, updated_at = EXCLUDED.updated_at;
  END IF;
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/bookings_sync_reminders",
        None,
        r"""-- Promises: a booking that is confirmed or moved is reminded of at its own time. One that ends loses its reminder in
-- bookings_sync_jobs. Called by triggers bookings_sync_reminders_on_insert and _on_update, whoever writes. Locks: its job.
CREATE OR REPLACE FUNCTION bookings_sync_reminders()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM arm_reminder(NEW, NEW.updated_at);
  RETURN NULL;
END
$$""",
    ),
    Change(
        "functions/check_invariants",
        r"""-- Promises: every promise of the house recounted from its rows: which are broken, by which row; none, or something is
-- badly wrong. Called by GET /v1/invariants and the tests. Reads all slots, bookings, pending jobs and offers.
CREATE OR REPLACE FUNCTION check_invariants(p_limit integer DEFAULT 100)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_report json;
BEGIN
  WITH recount AS (
    SELECT b.slot_id, count(*) AS bookings, sum(b.units) AS units
    FROM bookings b
    WHERE b.status IN ('pending', 'confirmed', 'completed', 'no_show')
    GROUP BY b.slot_id
  ), pending_jobs AS (
    SELECT j.dedupe_key, j.job_type, j.scheduled_at, j.booking_id
    FROM jobs j
    WHERE j.status = 'pending' AND j.booking_id IS NOT NULL
  ), violations AS (
    SELECT 'slot_counters' AS invariant, s.id, json_build_object(
      'booked_bookings', s.booked_bookings, 'booked_units', s.booked_units,
      'recounted_bookings', COALESCE(r.bookings, 0), 'recounted_units', COALESCE(r.units, 0)
    ) AS facts
    FROM slots s
    LEFT JOIN recount r ON r.slot_id = s.id
    WHERE (s.booked_bookings, s.booked_units) IS DISTINCT FROM (COALESCE(r.bookings, 0), COALESCE(r.units, 0))
    UNION ALL
    SELECT 'slot_capacity', s.id, json_build_object(
      'max_bookings', s.max_bookings, 'max_units', s.max_units, 'bookings', r.bookings, 'units', r.units
    )
    FROM slots s
    JOIN recount r ON r.slot_id = s.id
    WHERE r.bookings > s.max_bookings OR r.units > s.max_units
    UNION ALL
    SELECT 'booking_job', COALESCE(b.id, j.booking_id), json_build_object(
      'status', b.status, 'job_type', j.job_type, 'scheduled_at', j.scheduled_at
    )
    FROM (SELECT x.* FROM bookings x WHERE x.status IN ('pending', 'confirmed')) b
    FULL JOIN pending_jobs j ON j.booking_id = b.id
    WHERE (j.job_type, j.scheduled_at) IS DISTINCT FROM (
      CASE b.status WHEN 'confirmed' THEN 'complete_booking' WHEN 'pending' THEN 'expire_booking' END,
      CASE b.status WHEN 'confirmed' THEN b.ends_at ELSE b.expires_at END
    )
    UNION ALL
    SELECT 'waitlist_offer', w.id, json_build_object('booking_id', w.booking_id, 'booking_status', b.status)
    FROM waitlist_entries w
    JOIN bookings b ON b.id = w.booking_id
    WHERE (w.status = 'offered') <> (b.status = 'pending')
    UNION ALL
    SELECT 'schedule_job', c.resource_id, json_build_object('pending_jobs', 0)
    FROM schedules c
    WHERE NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = c.resource_id::text AND j.job_type = 'refresh_schedule' AND j.status = 'pending'
    )
  )
  SELECT json_build_object(
    'checked', json_build_object(
      'slots', (SELECT count(*) FROM slots), 'bookings', (SELECT count(*) FROM bookings),
      'jobs', (SELECT count(*) FROM pending_jobs)
    ),
    'violation_count', (SELECT count(*) FROM violations),
    'violations', COALESCE(
      (
        SELECT json_agg(json_build_object('invariant', v.invariant, 'id', v.id, 'facts', v.facts))
        FROM (SELECT * FROM violations x ORDER BY x.invariant, x.id LIMIT p_limit) v
      ),
      '[]'
    )
  ) INTO v_report;
  RETURN v_report;
END
$$""",
        r"""-- Promises: every promise of the house recounted from its rows: which are broken, by which row; none, or something is
-- badly wrong. Called by GET /v1/invariants and the tests. Reads all slots, bookings, pending jobs and offers.
CREATE OR REPLACE FUNCTION check_invariants(p_limit integer DEFAULT 100)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_report json;
BEGIN
  WITH recount AS (
    SELECT b.slot_id, count(*) AS bookings, sum(b.units) AS units
    FROM bookings b
    WHERE b.status IN ('pending', 'confirmed', 'completed', 'no_show')
    GROUP BY b.slot_id
  ), pending_jobs AS (
    SELECT j.dedupe_key, j.job_type, j.scheduled_at, j.booking_id
    FROM jobs j
    WHERE j.status = 'pending' AND j.booking_id IS NOT NULL AND j.job_type IN ('complete_booking', 'expire_booking')
  ), violations AS (
    SELECT 'slot_counters' AS invariant, s.id, json_build_object(
      'booked_bookings', s.booked_bookings, 'booked_units', s.booked_units,
      'recounted_bookings', COALESCE(r.bookings, 0), 'recounted_units', COALESCE(r.units, 0)
    ) AS facts
    FROM slots s
    LEFT JOIN recount r ON r.slot_id = s.id
    WHERE (s.booked_bookings, s.booked_units) IS DISTINCT FROM (COALESCE(r.bookings, 0), COALESCE(r.units, 0))
    UNION ALL
    SELECT 'slot_capacity', s.id, json_build_object(
      'max_bookings', s.max_bookings, 'max_units', s.max_units, 'bookings', r.bookings, 'units', r.units
    )
    FROM slots s
    JOIN recount r ON r.slot_id = s.id
    WHERE r.bookings > s.max_bookings OR r.units > s.max_units
    UNION ALL
    SELECT 'booking_job', COALESCE(b.id, j.booking_id), json_build_object(
      'status', b.status, 'job_type', j.job_type, 'scheduled_at', j.scheduled_at
    )
    FROM (SELECT x.* FROM bookings x WHERE x.status IN ('pending', 'confirmed')) b
    FULL JOIN pending_jobs j ON j.booking_id = b.id
    WHERE (j.job_type, j.scheduled_at) IS DISTINCT FROM (
      CASE b.status WHEN 'confirmed' THEN 'complete_booking' WHEN 'pending' THEN 'expire_booking' END,
      CASE b.status WHEN 'confirmed' THEN b.ends_at ELSE b.expires_at END
    )
    UNION ALL
    SELECT 'waitlist_offer', w.id, json_build_object('booking_id', w.booking_id, 'booking_status', b.status)
    FROM waitlist_entries w
    JOIN bookings b ON b.id = w.booking_id
    WHERE (w.status = 'offered') <> (b.status = 'pending')
    UNION ALL
    SELECT 'schedule_job', c.resource_id, json_build_object('pending_jobs', 0)
    FROM schedules c
    WHERE NOT EXISTS (
      SELECT FROM jobs j
      WHERE j.dedupe_key = c.resource_id::text AND j.job_type = 'refresh_schedule' AND j.status = 'pending'
    )
  )
  SELECT json_build_object(
    'checked', json_build_object(
      'slots', (SELECT count(*) FROM slots), 'bookings', (SELECT count(*) FROM bookings),
      'jobs', (SELECT count(*) FROM pending_jobs)
    ),
    'violation_count', (SELECT count(*) FROM violations),
    'violations', COALESCE(
      (
        SELECT json_agg(json_build_object('invariant', v.invariant, 'id', v.id, 'facts', v.facts))
        FROM (SELECT * FROM violations x ORDER BY x.invariant, x.id LIMIT p_limit) v
      ),
      '[]'
    )
  ) INTO v_report;
  RETURN v_report;
END
$$""",
    ),
    Change(
        "functions/due_jobs",
        r"""-- Promises: how many jobs are due, and for how long the oldest has waited, in milliseconds.
-- Called by the job processor, /readyz/jobs and `holdfast doctor`. Each half has an index that skips what lies ahead.
CREATE OR REPLACE FUNCTION due_jobs(p_now timestamptz DEFAULT now())
RETURNS TABLE (remaining_due bigint, oldest_due_age_ms bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT count(*), COALESCE((extract(epoch FROM p_now - min(d.run_at)) * 1000)::bigint, 0)
  FROM (
    SELECT j.run_at
    FROM jobs j
    WHERE j.job_type IN ('complete_booking', 'expire_booking', 'refresh_schedule')
      AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
    UNION ALL
    SELECT j.run_at
    FROM pending_queues() q (name)
    JOIN jobs j ON j.queue = q.name AND j.priority IN (0, 1, 2, 3) AND j.status = 'pending' AND j.run_at <= p_now
  ) d
$$""",
        r"""-- Promises: how many jobs are due, and for how long the oldest has waited, in milliseconds.
-- Called by the job processor, /readyz/jobs and `holdfast doctor`. Each half has an index that skips what lies ahead.
CREATE OR REPLACE FUNCTION due_jobs(p_now timestamptz DEFAULT now())
RETURNS TABLE (remaining_due bigint, oldest_due_age_ms bigint)
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT count(*), COALESCE((extract(epoch FROM p_now - min(d.run_at)) * 1000)::bigint, 0)
  FROM (
    SELECT j.run_at
    FROM jobs j
    WHERE j.job_type IN ('complete_booking', 'expire_booking', 'refresh_schedule', 'remind_booking')
      AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
    UNION ALL
    SELECT j.run_at
    FROM pending_queues() q (name)
    JOIN jobs j ON j.queue = q.name AND j.priority IN (0, 1, 2, 3) AND j.status = 'pending' AND j.run_at <= p_now
  ) d
$$""",
    ),
    Change(
        "functions/end_message",
        None,
        r"""-- Promises: what came of sending a message is on record, by who holds its job; with `sent` its job is done in the same
-- transaction. `pending` waits for another try; `sending` stays unclear. Called by the handler of send_message.
-- Locks: message, job. Raises: SB020 lease_lost.
CREATE OR REPLACE FUNCTION end_message(
  p_message_id uuid,
  p_job_id uuid,
  p_lease_token bigint,
  p_status text,
  p_reason text DEFAULT NULL,
  p_detail text DEFAULT NULL,
  p_provider_ref text DEFAULT NULL,
  p_language text DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  UPDATE messages m
  SET status = p_status,
      reason = p_reason,
      detail = left(p_detail, 100),
      provider_ref = left(p_provider_ref, 200),
      language = COALESCE(p_language, m.language),
      -- what surely did not leave was not about to
      sending_at = CASE WHEN p_status <> 'pending' THEN m.sending_at END,
      sent_at = CASE WHEN p_status = 'sent' THEN p_now END,
      updated_at = p_now
  WHERE m.id = p_message_id AND m.status = 'sending';
  IF p_status = 'sent' THEN
    PERFORM complete_leased_job(p_job_id, p_lease_token, p_now => p_now);
    RETURN;
  END IF;

  PERFORM FROM jobs j
  WHERE j.id = p_job_id AND j.lease_token = p_lease_token AND j.status = 'processing'
  FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'lease_lost' USING ERRCODE = 'SB020',
      DETAIL = json_build_object('job_id', p_job_id, 'lease_token', p_lease_token);
  END IF;
END
$$""",
    ),
    Change(
        "functions/get_preferences",
        None,
        r"""-- Promises: how a customer wants to be told; the defaults for one who is not known yet.
-- Called by GET /v1/customers/{ref}/preferences and put_preferences.
CREATE OR REPLACE FUNCTION get_preferences(p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT json_build_object(
      'customer_ref', p_customer_ref,
      'language', c.language,
      'timezone', c.timezone,
      'email_opt_out', COALESCE(c.email_opt_out, false),
      'sms_opt_out', COALESCE(c.sms_opt_out, false)
    )
    FROM (VALUES (p_customer_ref)) AS v (ref)
    LEFT JOIN customers c ON c.ref = v.ref
  );
END
$$""",
    ),
    Change(
        "functions/is_sms_opted_out",
        None,
        r"""-- Promises: whether whoever has this E.164 number asked for no SMS. Called by the handler of send_message, just before.
CREATE OR REPLACE FUNCTION is_sms_opted_out(p_number text)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN EXISTS (SELECT FROM sms_opt_outs o WHERE o.number_hash = sha256(convert_to(p_number, 'UTF8')));
END
$$""",
    ),
    Change(
        "functions/list_channels",
        None,
        r"""-- Promises: every channel, and whether messages go out over it. Called by GET /v1/message-channels, put_channel and
-- `holdfast doctor`.
CREATE OR REPLACE FUNCTION list_channels()
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT json_build_object(
      'items', json_agg(
        json_build_object('name', v.name, 'is_enabled', COALESCE(h.is_enabled, false), 'updated_at', h.updated_at)
        ORDER BY v.name
      )
    )
    FROM (VALUES ('email'), ('sms')) AS v (name)
    LEFT JOIN message_channels h ON h.name = v.name
  );
END
$$""",
    ),
    Change(
        "functions/list_messages",
        None,
        r"""-- Promises: one page of the messages that pass every filter, in order of creation, and the next page's cursor; no address
-- and no text. Called by GET /v1/messages. Planned anew each time: which filters are given decides which index serves.
CREATE OR REPLACE FUNCTION list_messages(
  p_customer_ref text DEFAULT NULL, p_status text DEFAULT NULL, p_limit integer DEFAULT 50, p_cursor text DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = 'force_custom_plan'
AS $$
DECLARE
  v_after record := read_cursor(p_cursor);
  v_page messages[];
BEGIN
  v_page := ARRAY(
    SELECT m
    FROM messages m
    WHERE (m.created_at, m.id) > (v_after.at, v_after.id)
      AND (p_customer_ref IS NULL OR m.customer_id = (SELECT c.id FROM customers c WHERE c.ref = p_customer_ref))
      AND (p_status IS NULL OR m.status = p_status)
    ORDER BY m.created_at, m.id
    LIMIT p_limit + 1
  );
  RETURN json_build_object(
    'items', COALESCE(
      (
        SELECT json_agg(
          to_jsonb(m) - '{customer_id,told_status,told_starts_at,sending_at}'::text[]
            || jsonb_build_object('customer_ref', c.ref)
          ORDER BY m.created_at, m.id
        )
        FROM unnest(v_page[:p_limit]) m
        JOIN customers c ON c.id = m.customer_id
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
        "functions/make_messages",
        None,
        r"""-- Promises: a message on each enabled channel on which the customer can and wants to be reached, with the job that sends
-- it, in the caller's transaction; once under a key, however often it is asked for.
-- Called by audit_log_make_messages and remind_due_bookings. Locks: none but its own new rows.
CREATE OR REPLACE FUNCTION make_messages(
  p_template text,
  p_customer_id uuid,
  p_subject_type text,
  p_subject_id uuid,
  p_dedupe_key text,
  p_told_status text,
  p_told_starts_at timestamptz,
  p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_message_id uuid;
  v_channel text;
BEGIN
  FOR v_message_id, v_channel IN
    INSERT INTO messages (
      customer_id, channel, template, subject_type, subject_id, told_status, told_starts_at, dedupe_key, created_at,
      updated_at
    )
    SELECT c.id, h.name, p_template, p_subject_type, p_subject_id, p_told_status, p_told_starts_at, p_dedupe_key, p_now,
      p_now
    FROM message_channels h
    JOIN customers c ON c.id = p_customer_id
    WHERE h.is_enabled AND CASE h.name
      WHEN 'email' THEN c.email IS NOT NULL AND NOT c.email_opt_out
      ELSE c.phone IS NOT NULL AND NOT c.sms_opt_out
    END
    ON CONFLICT (dedupe_key, channel) DO NOTHING
    RETURNING id, channel
  LOOP
    PERFORM enqueue_job(
      'send_message', jsonb_build_object('message_id', v_message_id, 'channel', v_channel), p_now, v_message_id::text,
      'messages',
      p_booking_id => CASE p_subject_type WHEN 'booking' THEN p_subject_id END, p_now => p_now
    );
  END LOOP;
END
$$""",
    ),
    Change(
        "functions/message_body",
        None,
        r"""-- Promises: all that a message is made of, as it is now: the message, whom it is for and what it is about. It holds personal
-- data, and goes to nobody but the one who sends. Called by begin_message.
CREATE OR REPLACE FUNCTION message_body(p_message messages)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_booking bookings;
  v_prebooking prebookings;
  v_resource resources;
BEGIN
  IF p_message.subject_type = 'booking' THEN
    SELECT * INTO v_booking FROM bookings b WHERE b.id = p_message.subject_id;
  ELSE
    SELECT * INTO v_prebooking FROM prebookings p WHERE p.id = p_message.subject_id;
  END IF;
  SELECT * INTO v_resource FROM resources r WHERE r.id = COALESCE(v_booking.resource_id, v_prebooking.resource_id);
  RETURN jsonb_build_object(
    'channel', p_message.channel,
    'template', p_message.template,
    'customer', (
      SELECT jsonb_build_object(
        'name', c.name, 'email', c.email, 'phone', c.phone, 'language', c.language,
        'timezone', COALESCE(
          c.timezone, v_resource.timezone, (SELECT p.timezone FROM providers p WHERE p.name = v_prebooking.provider)
        )
      )
      FROM customers c
      WHERE c.id = p_message.customer_id
    ),
    'resource', CASE
      WHEN v_resource.id IS NOT NULL THEN jsonb_build_object('name', v_resource.name, 'timezone', v_resource.timezone)
    END,
    'booking', CASE WHEN v_booking.id IS NOT NULL THEN to_jsonb(v_booking) - 'metadata' END,
    'prebooking', CASE
      WHEN v_prebooking.id IS NOT NULL THEN jsonb_build_object(
        'provider', v_prebooking.provider,
        'target', v_prebooking.targets -> COALESCE(v_prebooking.booked_choice - 1, 0),
        'confirmation', v_prebooking.confirmation
      )
    END
  );
END
$$""",
    ),
    Change(
        "functions/message_reason",
        None,
        r"""-- Promises: why a message may not go out now, or null: it would be wrong, late or unwelcome. The booking's row stays as it
-- was read until the caller's transaction ends. Called by begin_message.
-- Locks: booking (shared), so that it waits for a change under way, and a change waits for it.
CREATE OR REPLACE FUNCTION message_reason(p_message messages, p_now timestamptz DEFAULT clock_timestamp())
RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers := (SELECT c FROM customers c WHERE c.id = p_message.customer_id);
  v_booking bookings;
BEGIN
  IF p_message.subject_type = 'booking' THEN
    SELECT * INTO v_booking FROM bookings b WHERE b.id = p_message.subject_id FOR SHARE;
    IF (v_booking.status, v_booking.starts_at) IS DISTINCT FROM (p_message.told_status, p_message.told_starts_at) THEN
      RETURN 'outdated';
    ELSIF p_message.template = 'booking_reminder' AND v_booking.starts_at <= p_now OR v_booking.expires_at <= p_now THEN
      RETURN 'too_late';
    END IF;
  END IF;
  RETURN CASE
    WHEN NOT EXISTS (SELECT FROM message_channels h WHERE h.name = p_message.channel AND h.is_enabled)
      THEN 'channel_disabled'
    WHEN CASE p_message.channel WHEN 'email' THEN v_customer.email_opt_out ELSE v_customer.sms_opt_out END
      THEN 'opted_out'
    WHEN CASE p_message.channel WHEN 'email' THEN v_customer.email ELSE v_customer.phone END IS NULL THEN 'no_address'
  END;
END
$$""",
    ),
    Change(
        "functions/message_template",
        None,
        r"""-- Promises: the template of the message that tells a customer of an audited change, or null where nobody is told: one line
-- an event. Called by audit_log_make_messages, with the row as it was after the change.
CREATE OR REPLACE FUNCTION message_template(p_event text, p_values jsonb)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
  -- whoever was imported has been told elsewhere
  WHEN p_event = 'booking.created' AND p_values ->> 'external_id' IS NOT NULL THEN NULL
  WHEN p_event = 'booking.created' AND p_values ->> 'status' = 'confirmed' THEN 'booking_confirmed'
  WHEN p_event = 'booking.created' AND p_values ->> 'status' = 'pending' THEN 'booking_held'
  WHEN p_event IN ('booking.confirmed', 'booking.rescheduled', 'booking.cancelled') THEN replace(p_event, '.', '_')
  WHEN p_event IN ('booking.expired', 'booking.failed') THEN 'booking_expired'
  -- at a resource of ours the booking tells it
  WHEN p_event = 'prebooking.succeeded' AND p_values ->> 'provider' IS NOT NULL THEN 'prebooking_succeeded'
  -- of one that a person has to look at nobody knows whether it failed
  WHEN p_event = 'prebooking.failed' AND p_values ->> 'needs_attention' = 'false' THEN 'prebooking_failed'
END""",
    ),
    Change(
        "functions/put_channel",
        None,
        r"""-- Promises: messages go out over the channel from now on, or none are made for it any more; the same again changes nothing.
-- Answers all channels. Called by PUT /v1/message-channels/{name}. Locks: the channel.
CREATE OR REPLACE FUNCTION put_channel(p_actor jsonb, p_name text, p_is_enabled boolean, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO message_channels AS h (name, is_enabled, updated_at)
  VALUES (p_name, p_is_enabled, p_now)
  ON CONFLICT (name) DO UPDATE
    SET is_enabled = EXCLUDED.is_enabled, updated_at = EXCLUDED.updated_at
    WHERE h.is_enabled <> EXCLUDED.is_enabled;
  RETURN list_channels();
END
$$""",
    ),
    Change(
        "functions/put_preferences",
        None,
        r"""-- Promises: the customer wants to be told so, and no other way; one who is not known yet is from now on. The same again
-- changes nothing. Called by PUT /v1/customers/{ref}/preferences. Locks: the customer's row.
CREATE OR REPLACE FUNCTION put_preferences(
  p_actor jsonb,
  p_customer_ref text,
  p_language text DEFAULT NULL,
  p_timezone text DEFAULT NULL,
  p_email_opt_out boolean DEFAULT false,
  p_sms_opt_out boolean DEFAULT false,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  INSERT INTO customers AS c (ref, language, timezone, email_opt_out, sms_opt_out, created_at, updated_at)
  VALUES (p_customer_ref, p_language, p_timezone, p_email_opt_out, p_sms_opt_out, p_now, p_now)
  ON CONFLICT (ref) DO UPDATE
    SET language = EXCLUDED.language,
        timezone = EXCLUDED.timezone,
        email_opt_out = EXCLUDED.email_opt_out,
        sms_opt_out = EXCLUDED.sms_opt_out,
        updated_at = EXCLUDED.updated_at
    WHERE (c.language, c.timezone, c.email_opt_out, c.sms_opt_out) IS DISTINCT FROM
      (EXCLUDED.language, EXCLUDED.timezone, EXCLUDED.email_opt_out, EXCLUDED.sms_opt_out);
  RETURN get_preferences(p_customer_ref);
END
$$""",
    ),
    Change(
        "functions/put_schedule",
        r"""-- Promises: the resource has exactly these rules, and its coming slots follow; or, as a dry run, the same answer and
-- nothing changed. The same rules again change nothing. Called by PUT /v1/resources/{id}/schedule.
-- Locks: resource, schedule, then what refresh_future_schedule locks. Raises: SB009 resource_not_found, SB017 invalid_hours.
CREATE OR REPLACE FUNCTION put_schedule(
  p_actor jsonb, p_resource_id uuid, p_rules jsonb, p_dry_run boolean DEFAULT false, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_not_rules CONSTANT text[] := ARRAY['version', 'created_at', 'updated_at'];
  v_old schedules;
  v_new schedules;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_resource(p_resource_id);
  v_new := jsonb_populate_record(
    NULL::schedules, '{"opening_policy": "fifo"}' || p_rules || jsonb_build_object('resource_id', p_resource_id)
  );
  IF p_dry_run THEN
    PERFORM require_hours(v_new.weekly, true);
    RETURN schedule_plan_json(
      ARRAY(
        SELECT p
        FROM schedule_plan(
          v_new, ARRAY(SELECT e FROM schedule_exceptions e WHERE e.resource_id = p_resource_id), p_now
        ) p
      ),
      true
    );
  END IF;

  -- a resource has no schedule to lock before its first
  PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  SELECT * INTO v_old FROM schedules c WHERE c.resource_id = p_resource_id FOR NO KEY UPDATE;
  v_new.version := COALESCE(v_old.version, 0) + 1;
  v_new.created_at := COALESCE(v_old.created_at, p_now);
  v_new.updated_at := p_now;
  IF v_old IS NULL THEN
    INSERT INTO schedules SELECT v_new.*;
  ELSIF to_jsonb(v_old) - c_not_rules <> to_jsonb(v_new) - c_not_rules THEN
    UPDATE schedules c
    SET (weekly, slot_minutes, max_bookings, max_units, horizon_days, min_notice_minutes, booking_window_days,
         opens_at_local, cancel_cutoff_minutes, hold_minutes, offer_minutes, max_bookings_per_customer, opening_policy,
         version, updated_at)
      = (v_new.weekly, v_new.slot_minutes, v_new.max_bookings, v_new.max_units, v_new.horizon_days,
         v_new.min_notice_minutes, v_new.booking_window_days, v_new.opens_at_local, v_new.cancel_cutoff_minutes,
         v_new.hold_minutes, v_new.offer_minutes, v_new.max_bookings_per_customer, v_new.opening_policy, v_new.version,
         v_new.updated_at)
    WHERE c.resource_id = p_resource_id;
  END IF;
  RETURN refresh_future_schedule(p_actor, p_resource_id, p_now);
END
$$""",
        r"""-- Promises: the resource has exactly these rules, and its coming slots follow; or, as a dry run, the same answer and
-- nothing changed. The same rules again change nothing. Called by PUT /v1/resources/{id}/schedule.
-- Locks: resource, schedule, then what refresh_future_schedule locks, and jobs that remind. Raises: SB009 resource_not_found, SB017 invalid_hours.
CREATE OR REPLACE FUNCTION put_schedule(
  p_actor jsonb, p_resource_id uuid, p_rules jsonb, p_dry_run boolean DEFAULT false, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_not_rules CONSTANT text[] := ARRAY['version', 'created_at', 'updated_at'];
  v_old schedules;
  v_new schedules;
  v_plan json;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM get_resource(p_resource_id);
  v_new := jsonb_populate_record(
    NULL::schedules,
    '{"opening_policy": "fifo", "reminder_minutes": []}' || p_rules || jsonb_build_object('resource_id', p_resource_id)
  );
  IF p_dry_run THEN
    PERFORM require_hours(v_new.weekly, true);
    RETURN schedule_plan_json(
      ARRAY(
        SELECT p
        FROM schedule_plan(
          v_new, ARRAY(SELECT e FROM schedule_exceptions e WHERE e.resource_id = p_resource_id), p_now
        ) p
      ),
      true
    );
  END IF;

  -- a resource has no schedule to lock before its first
  PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;
  SELECT * INTO v_old FROM schedules c WHERE c.resource_id = p_resource_id FOR NO KEY UPDATE;
  v_new.version := COALESCE(v_old.version, 0) + 1;
  v_new.created_at := COALESCE(v_old.created_at, p_now);
  v_new.updated_at := p_now;
  IF v_old IS NULL THEN
    INSERT INTO schedules SELECT v_new.*;
  ELSIF to_jsonb(v_old) - c_not_rules <> to_jsonb(v_new) - c_not_rules THEN
    UPDATE schedules c
    SET (weekly, slot_minutes, max_bookings, max_units, horizon_days, min_notice_minutes, booking_window_days,
         opens_at_local, cancel_cutoff_minutes, hold_minutes, offer_minutes, max_bookings_per_customer, opening_policy,
         reminder_minutes, version, updated_at)
      = (v_new.weekly, v_new.slot_minutes, v_new.max_bookings, v_new.max_units, v_new.horizon_days,
         v_new.min_notice_minutes, v_new.booking_window_days, v_new.opens_at_local, v_new.cancel_cutoff_minutes,
         v_new.hold_minutes, v_new.offer_minutes, v_new.max_bookings_per_customer, v_new.opening_policy,
         v_new.reminder_minutes, v_new.version, v_new.updated_at)
    WHERE c.resource_id = p_resource_id;
  END IF;
  v_plan := refresh_future_schedule(p_actor, p_resource_id, p_now);
  IF v_old.reminder_minutes IS DISTINCT FROM v_new.reminder_minutes THEN
    -- jobs are locked last
    PERFORM arm_reminder(b, p_now)
    FROM bookings b
    WHERE b.resource_id = p_resource_id AND b.status = 'confirmed' AND b.starts_at > p_now
    ORDER BY b.id;
  END IF;
  RETURN v_plan;
END
$$""",
    ),
    Change(
        "functions/put_sms_opt_out",
        None,
        r"""-- Promises: no SMS goes to this E.164 number, or may again; for whichever customers it is or will be the number.
-- What is kept of it is a hash, for personal data stays in customers. Called by POST /v1/sms-inbound.
CREATE OR REPLACE FUNCTION put_sms_opt_out(p_number text, p_is_opted_out boolean, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF p_is_opted_out THEN
    INSERT INTO sms_opt_outs (number_hash, created_at)
    VALUES (sha256(convert_to(p_number, 'UTF8')), p_now)
    ON CONFLICT DO NOTHING;
  ELSE
    DELETE FROM sms_opt_outs o WHERE o.number_hash = sha256(convert_to(p_number, 'UTF8'));
  END IF;
END
$$""",
    ),
    Change(
        "functions/quiet_until",
        None,
        r"""-- Promises: when it is loud again in a zone, where the clocks there stand between these two times; null where it is loud.
-- The hours may pass midnight. Called by begin_message.
CREATE OR REPLACE FUNCTION quiet_until(p_timezone text, p_from time, p_to time, p_now timestamptz DEFAULT now())
RETURNS timestamptz
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_local timestamp := p_now AT TIME ZONE p_timezone;
  v_is_quiet boolean := CASE
    WHEN p_from <= p_to THEN v_local::time >= p_from AND v_local::time < p_to
    ELSE v_local::time >= p_from OR v_local::time < p_to
  END;
BEGIN
  RETURN CASE
    WHEN v_is_quiet THEN (v_local::date + (v_local::time >= p_to)::integer + p_to) AT TIME ZONE p_timezone
  END;
END
$$""",
    ),
    Change(
        "functions/remind_due_bookings",
        None,
        r"""-- Promises: bookings whose reminder is due have their messages, once for each reminder, and wait for the next one; of those
-- that were missed only the last is sent, and none after the start. Answers how many were looked at.
-- Called by the job processor. Locks: bookings, SKIP LOCKED, then their jobs.
CREATE OR REPLACE FUNCTION remind_due_bookings(p_actor jsonb, p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_bookings bookings[];
  v_booking bookings;
  v_minutes integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_bookings := ARRAY(
    SELECT b
    FROM jobs j
    JOIN bookings b ON b.id = j.booking_id
    WHERE j.job_type = 'remind_booking' AND j.queue IS NULL AND j.status = 'pending' AND j.run_at <= p_now
    ORDER BY j.run_at
    LIMIT p_limit
    FOR NO KEY UPDATE OF b SKIP LOCKED
  );
  FOREACH v_booking IN ARRAY v_bookings LOOP
    -- it may have been moved before it was locked
    UPDATE jobs j
    SET status = 'processed', processed_at = p_now, updated_at = p_now
    WHERE j.dedupe_key = v_booking.id::text AND j.job_type = 'remind_booking' AND j.status = 'pending'
      AND j.run_at <= p_now;
    CONTINUE WHEN NOT FOUND OR v_booking.status <> 'confirmed';

    SELECT min(m) INTO v_minutes
    FROM schedules c
    CROSS JOIN unnest(c.reminder_minutes) AS m
    WHERE c.resource_id = v_booking.resource_id AND v_booking.starts_at - make_interval(mins => m) <= p_now;
    IF v_minutes IS NOT NULL AND v_booking.starts_at > p_now THEN
      PERFORM make_messages(
        'booking_reminder', v_booking.customer_id, 'booking', v_booking.id,
        concat_ws('/', 'reminder', v_booking.id, extract(epoch FROM v_booking.starts_at)::bigint, v_minutes),
        v_booking.status, v_booking.starts_at, p_now
      );
    END IF;
    PERFORM arm_reminder(v_booking, p_now);
  END LOOP;
  RETURN cardinality(v_bookings);
END
$$""",
    ),
    Change(
        "functions/sweep_messages",
        None,
        r"""-- Promises: a message whose job is over without it, since its tries are used up or somebody cancelled it, has failed.
-- Answers how many. Called by the job processor. Locks: messages, SKIP LOCKED.
CREATE OR REPLACE FUNCTION sweep_messages(p_limit integer, p_now timestamptz DEFAULT now())
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  c_patience CONSTANT interval := interval '1 minute';
  v_swept integer;
BEGIN
  UPDATE messages m
  SET status = 'failed',
      -- of one that was about to be sent nobody knows whether it was
      reason = CASE m.status WHEN 'sending' THEN 'outcome_unknown' ELSE 'gave_up' END,
      updated_at = p_now
  WHERE m.id IN (
    SELECT x.id
    FROM messages x
    WHERE x.status IN ('pending', 'sending') AND x.created_at < p_now - c_patience
      AND NOT EXISTS (
        SELECT FROM jobs j
        WHERE j.dedupe_key = x.id::text AND j.job_type = 'send_message' AND j.status = 'pending'
      )
      AND NOT EXISTS (
        SELECT FROM jobs j
        WHERE j.queue = 'messages' AND j.dedupe_key = x.id::text AND j.status = 'processing'
      )
    ORDER BY x.created_at
    LIMIT p_limit
    FOR NO KEY UPDATE SKIP LOCKED
  );
  GET DIAGNOSTICS v_swept = ROW_COUNT;
  RETURN v_swept;
END
$$""",
    ),
    Change(
        "triggers/audit_log_make_messages",
        None,
        r"""-- What nobody is told of costs no call.
CREATE OR REPLACE TRIGGER audit_log_make_messages
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (
  NEW.event IN (
    'booking.created', 'booking.confirmed', 'booking.rescheduled', 'booking.cancelled', 'booking.expired',
    'booking.failed', 'prebooking.succeeded', 'prebooking.failed'
  )
)
EXECUTE FUNCTION audit_log_make_messages()""",
    ),
    Change(
        "triggers/bookings_sync_reminders_on_insert",
        None,
        r"""CREATE OR REPLACE TRIGGER bookings_sync_reminders_on_insert
AFTER INSERT ON bookings
FOR EACH ROW
WHEN (NEW.status = 'confirmed')
EXECUTE FUNCTION bookings_sync_reminders()""",
    ),
    Change(
        "triggers/bookings_sync_reminders_on_update",
        None,
        r"""-- Only what decides when to remind: other changes leave the job alone.
CREATE OR REPLACE TRIGGER bookings_sync_reminders_on_update
AFTER UPDATE ON bookings
FOR EACH ROW
WHEN (
  NEW.status = 'confirmed'
  AND (OLD.status, OLD.resource_id, OLD.starts_at) IS DISTINCT FROM (NEW.status, NEW.resource_id, NEW.starts_at)
)
EXECUTE FUNCTION bookings_sync_reminders()""",
    ),
    Change(
        "triggers/message_channels_write_audit",
        None,
        r"""CREATE OR REPLACE TRIGGER message_channels_write_audit
AFTER INSERT OR UPDATE OR DELETE ON message_channels
FOR EACH ROW
EXECUTE FUNCTION write_audit_log('message_channel')""",
    ),
]


def upgrade() -> None:
    frozen.upgrade(CHANGES)
    # what 0022 left for later: check the old rows
    for table, check in (("customers", "timezone"), ("schedules", "reminder_minutes"), ("jobs", "queue")):
        op.execute(
            f"""-- squawk-ignore constraint-missing-not-valid
            ALTER TABLE {table} VALIDATE CONSTRAINT {table}_{check}_check"""
        )


def downgrade() -> None:
    frozen.downgrade(CHANGES)
