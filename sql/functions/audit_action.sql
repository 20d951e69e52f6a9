-- Promises: the word for what happened to a row, from its state before and after: created, deleted, the status it
-- took, resumed, rescheduled, reminded, responded, or modified. Called by write_audit_log; the events of webhooks and streams use the same words.
CREATE OR REPLACE FUNCTION audit_action(p_old jsonb, p_new jsonb)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN p_old IS NULL THEN 'created'
  WHEN p_new IS NULL THEN 'deleted'
  WHEN p_old ->> 'status' = 'paused' AND p_new ->> 'status' = 'running' THEN 'resumed'
  WHEN p_old ->> 'status' <> p_new ->> 'status' THEN p_new ->> 'status'
  WHEN p_old ->> 'slot_id' <> p_new ->> 'slot_id' THEN 'rescheduled'
  WHEN p_old ->> 'reminded_at' IS DISTINCT FROM p_new ->> 'reminded_at' THEN 'reminded'
  WHEN p_old ->> 'responses' <> p_new ->> 'responses' THEN 'responded'
  ELSE 'modified'
END
