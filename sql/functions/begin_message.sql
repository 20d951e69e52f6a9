-- Promises: that this message is about to be sent is on record before it is, by who holds its job and nobody else, if it
-- still tells the truth; and here is what sending it takes. Without a body it is skipped for a reason, or waits for the end
-- of quiet hours. Called by the handler of send_message.
-- Locks: auto-sync or booking (shared), message, job (shared).
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
  IF v_message.channel = 'sms' OR v_message.template IN ('booking_reminder', 'auto_sync_reminder') THEN
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
$$
