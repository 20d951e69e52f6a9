-- Promises: the SHA-256 of an audit row in its place in the chain of its subject, the same in every session and on every
-- version of Postgres: times are microseconds, addresses text, states jsonb, and null is not ''. Called by audit_log_chain,
-- audit_log_guard_update, backfill_audit_chain and audit_chain_faults.
-- Not in it: `xid`, which whoever restores a dump elsewhere has to empty.
CREATE OR REPLACE FUNCTION audit_hash(p_entry audit_log)
RETURNS bytea
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN sha256(convert_to(json_build_array(
  p_entry.position, encode(p_entry.prev_hash, 'hex'), p_entry.id, p_entry.subject_type, p_entry.subject_id,
  p_entry.event, p_entry.action_type, p_entry.old_values, p_entry.new_values, to_jsonb(p_entry.hidden_changes),
  p_entry.performed_by, p_entry.performed_by_id,
  -- no address looks like a hash: one that comes back after it was forgotten shows
  CASE
    WHEN p_entry.address_salt IS NULL AND p_entry.ip_address IS NOT NULL THEN text(p_entry.ip_address)
    ELSE encode(audit_address_hash(p_entry), 'hex')
  END,
  CASE WHEN p_entry.address_salt IS NULL THEN p_entry.user_agent END,
  p_entry.reason, p_entry.request_id, (extract(epoch FROM p_entry.created_at) * 1000000)::bigint
)::text, 'UTF8'))
