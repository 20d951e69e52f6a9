-- Promises: all of these bookings are made, or none; what several of them ask of one slot is summed before it is compared.
-- Called by POST /v1/bookings/batch. Locks: slots by id, customer, then the new bookings and their jobs.
-- Raises: SB001 slot_not_found, SB010 idempotency_conflict, what book_slot raises. A refusal leaves nothing behind.
CREATE OR REPLACE FUNCTION create_bookings_safe(
  p_actor jsonb,
  p_items jsonb,
  p_customer jsonb,
  p_payment_method text DEFAULT 'pay_on_arrival',
  p_idempotency_key text DEFAULT NULL,
  p_request_hash bytea DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS TABLE (body json, replayed boolean)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer jsonb := own_customer(p_actor, p_customer);
  v_demand record;
  v_item record;
  v_bookings json[] := ARRAY[]::json[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM FROM slots s
  WHERE s.id IN (SELECT (i ->> 'slot_id')::uuid FROM jsonb_array_elements(p_items) i)
  ORDER BY s.id
  FOR NO KEY UPDATE;

  body := replay_request(p_actor ->> 'id', 'create_bookings', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    FOR v_demand IN
      SELECT i.slot_id, sum(i.units)::integer AS units, count(*)::integer AS bookings
      FROM jsonb_to_recordset(p_items) AS i (slot_id uuid, units integer)
      GROUP BY i.slot_id
      ORDER BY i.slot_id
    LOOP
      PERFORM require_room(lock_slot(v_demand.slot_id), v_demand.units, v_demand.bookings, p_now);
    END LOOP;

    FOR v_item IN
      SELECT * FROM jsonb_to_recordset(p_items) AS i (slot_id uuid, units integer, metadata jsonb)
    LOOP
      v_bookings := v_bookings || booking_json(
        book_slot(
          p_actor, lock_slot(v_item.slot_id), v_customer, v_item.units, p_payment_method, v_item.metadata, p_now
        ),
        v_customer ->> 'ref'
      );
    END LOOP;
    body := json_build_object('bookings', array_to_json(v_bookings));
    PERFORM remember_request(p_actor ->> 'id', 'create_bookings', p_idempotency_key, p_request_hash, body, p_now);
  END IF;
  RETURN NEXT;
END
$$
