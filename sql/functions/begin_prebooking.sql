-- Promises: the prebooking is being executed, and here is what that takes: what is wanted, where, for whom, with which
-- credentials, when, and how far it came before. No row where there is nothing to do any more.
-- Called by the handler of execute_prebooking. Locks: prebooking.
-- Of one opening at a provider each fires its stagger after the one before, in the order of creation.
CREATE OR REPLACE FUNCTION begin_prebooking(
  p_actor jsonb, p_prebooking_id uuid, p_now timestamptz DEFAULT clock_timestamp()
)
RETURNS TABLE (
  provider text, adapter text, settings jsonb, is_enabled boolean, targets jsonb, customer jsonb, opens_at timestamptz,
  fire_at timestamptz, choice integer, is_booked boolean, confirmation text, unclear_attempt_id uuid, key_id text,
  nonce bytea, ciphertext bytea
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_prebooking prebookings;
  v_last prebooking_attempts;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE prebookings p SET status = 'executing', updated_at = p_now WHERE p.id = p_prebooking_id AND p.status = 'pending';
  SELECT * INTO v_prebooking FROM prebookings p WHERE p.id = p_prebooking_id AND p.status = 'executing';
  SELECT * INTO v_last FROM prebooking_attempts a WHERE a.prebooking_id = p_prebooking_id ORDER BY a.id DESC LIMIT 1;
  RETURN QUERY
    SELECT
      r.name, r.adapter, r.settings, r.is_enabled, v_prebooking.targets,
      jsonb_build_object('ref', c.ref, 'name', c.name, 'email', c.email, 'phone', c.phone),
      v_prebooking.opens_at,
      v_prebooking.opens_at + prebookings_ahead(v_prebooking) * make_interval(secs => COALESCE(q.stagger_ms, 0) / 1000.0),
      COALESCE(v_last.choice + (v_last.finding IN ('full', 'refused'))::integer, v_last.choice, 1),
      COALESCE(v_last.finding = 'booked', false),
      v_last.confirmation,
      -- what was not there right after it was asked for may have come since
      CASE WHEN COALESCE(v_last.finding IN ('unknown', 'absent'), true) THEN v_last.id END,
      k.key_id, k.nonce, k.ciphertext
    FROM providers r
    JOIN customers c ON c.id = v_prebooking.customer_id
    LEFT JOIN job_queues q ON q.name = provider_queue(r.name)
    LEFT JOIN provider_credentials k ON k.provider = r.name AND k.customer_id = c.id
    WHERE r.name = v_prebooking.provider;
END
$$
