-- Promises: what came of sending a message is on record, by who holds its job; with `sent` its job is done in the same
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
$$
