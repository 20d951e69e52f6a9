-- Promises: one booking for each occurrence of a series that begins with this slot. With p_on_conflict 'refuse' all or
-- none, with 'skip' those that can be had; the answer reports every occurrence. At least one, or it is refused.
-- Called by POST /v1/bookings/recurring. Locks: slots by id, customer, then the new bookings and their jobs.
-- Raises: SB001 slot_not_found, SB010 idempotency_conflict, what book_slot raises.
CREATE OR REPLACE FUNCTION create_recurring_bookings(
  p_actor jsonb,
  p_slot_id uuid,
  p_customer jsonb,
  p_every_days integer,
  p_count integer,
  p_on_conflict text DEFAULT 'refuse',
  p_units integer DEFAULT 1,
  p_payment_method text DEFAULT 'pay_on_arrival',
  p_metadata jsonb DEFAULT '{}',
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
  v_first slots;
  v_slot_ids uuid[];
  v_occurrence record;
  v_booking json;
  v_code text;
  v_report json[] := ARRAY[]::json[];
  v_booked integer := 0;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  SELECT * INTO v_first FROM slots s WHERE s.id = p_slot_id;
  v_slot_ids := ARRAY(SELECT o.slot_id FROM recurring_slots(v_first, p_every_days, p_count) o);
  PERFORM FROM slots s
  WHERE s.id = p_slot_id OR s.id = ANY (v_slot_ids)
  ORDER BY s.id
  FOR NO KEY UPDATE;
  v_first := lock_slot(p_slot_id);

  body := replay_request(p_actor ->> 'id', 'create_recurring_bookings', p_idempotency_key, p_request_hash);
  replayed := body IS NOT NULL;
  IF NOT replayed THEN
    FOR v_occurrence IN SELECT * FROM recurring_slots(v_first, p_every_days, p_count) LOOP
      BEGIN
        v_booking := NULL;
        v_code := NULL;
        -- one made while we waited comes too late: its lock would be out of order
        IF (v_occurrence.slot_id = ANY (v_slot_ids)) IS NOT TRUE THEN
          RAISE EXCEPTION 'slot_not_found' USING ERRCODE = 'SB001',
            DETAIL = json_build_object('occurrence', v_occurrence.occurrence, 'local_start', v_occurrence.local_start);
        END IF;
        v_booking := booking_json(
          book_slot(
            p_actor, lock_slot(v_occurrence.slot_id), v_customer, p_units, p_payment_method, p_metadata, p_now
          ),
          v_customer ->> 'ref'
        );
        v_booked := v_booked + 1;
      EXCEPTION
        WHEN SQLSTATE 'SB001' OR SQLSTATE 'SB002' OR SQLSTATE 'SB003' OR SQLSTATE 'SB004' OR SQLSTATE 'SB008'
          OR SQLSTATE 'SB011' OR SQLSTATE 'SB015' OR SQLSTATE 'SB018'
        THEN
          -- the last chance of a series without a single booking is refused as it stands
          IF p_on_conflict = 'refuse' OR v_booked = 0 AND v_occurrence.occurrence = p_count THEN
            RAISE;
          END IF;
          v_code := SQLERRM;
      END;
      v_report := v_report || json_build_object(
        'occurrence', v_occurrence.occurrence, 'local_start', v_occurrence.local_start,
        'slot_id', v_occurrence.slot_id, 'code', v_code, 'booking', v_booking
      );
    END LOOP;
    body := json_build_object('booked', v_booked, 'occurrences', array_to_json(v_report));
    PERFORM remember_request(
      p_actor ->> 'id', 'create_recurring_bookings', p_idempotency_key, p_request_hash, body, p_now
    );
  END IF;
  RETURN NEXT;
END
$$
