-- Promises: what the customer wants is booked when booking opens for it, or at once where it is open; once per key.
-- Called by POST /v1/prebookings, for a resource of ours or at a provider. Locks: resource and schedule, or provider
-- (shared), customer, then the new prebooking and its jobs. Raises: SB009 resource_not_found, SB010 idempotency_conflict,
-- SB022 provider_not_found, SB025 invalid_target, SB026 already_prebooked.
CREATE OR REPLACE FUNCTION create_prebooking(
  p_actor jsonb,
  p_resource_id uuid,
  p_provider text,
  p_targets jsonb,
  p_customer jsonb,
  p_units integer DEFAULT 1,
  p_payment_method text DEFAULT 'pay_on_arrival',
  p_join_waitlist boolean DEFAULT false,
  p_opens_at timestamptz DEFAULT NULL,
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (prebooking_id uuid, body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer_id uuid;
  v_starts timestamptz[];
  v_prebooking prebookings;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  IF p_provider IS NULL THEN
    PERFORM get_resource(p_resource_id);
    -- a change of the rules moves the openings of what it finds, and waits for what is under way
    PERFORM FROM resources r WHERE r.id = p_resource_id FOR SHARE;
    PERFORM FROM schedules c WHERE c.resource_id = p_resource_id FOR SHARE;
  ELSE
    PERFORM get_provider(p_provider);
    PERFORM FROM providers p WHERE p.name = p_provider FOR SHARE;
  END IF;
  v_customer_id := upsert_customer(own_customer(p_actor, p_customer), p_now);
  PERFORM FROM customers c WHERE c.id = v_customer_id FOR NO KEY UPDATE;

  body := replay_request(p_actor ->> 'id', 'create_prebooking', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    v_starts := CASE WHEN p_provider IS NULL THEN target_starts(p_resource_id, p_targets, p_now) END;
    INSERT INTO prebookings (
      customer_id, resource_id, provider, targets, starts_at, units, payment_method, join_waitlist, opens_at,
      is_opening_given, created_at, updated_at
    )
    VALUES (
      v_customer_id, p_resource_id, p_provider, p_targets, v_starts, p_units, p_payment_method, p_join_waitlist,
      GREATEST(COALESCE(p_opens_at, opening_of(p_resource_id, p_provider, p_targets, v_starts)), p_now),
      p_opens_at IS NOT NULL, p_now, p_now
    )
    ON CONFLICT DO NOTHING
    RETURNING * INTO v_prebooking;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'already_prebooked' USING ERRCODE = 'SB026',
        DETAIL = json_build_object('resource_id', p_resource_id, 'provider', p_provider, 'target', p_targets -> 0);
    END IF;
    body := prebooking_json(v_prebooking);
    PERFORM remember_request(p_actor ->> 'id', 'create_prebooking', p_idempotency_key, p_request_hash, body, p_now);
  END IF;

  prebooking_id := (body ->> 'id')::uuid;
  RETURN NEXT;
END
$$
