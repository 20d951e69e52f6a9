-- Promises: a running auto-sync, whose row the caller holds, is completed: the winner is the time that suits most, of equals
-- the one proposed earlier. At a resource it is booked, or the next that can be, or the first refusal stands on record.
-- Everybody is told. Called by auto_sync_participants_count and set_auto_sync_status.
-- Locks: what create_booking_safe locks, then the auto-sync's jobs.
CREATE OR REPLACE FUNCTION complete_auto_sync(p_sync auto_syncs, p_now timestamptz DEFAULT now())
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_time auto_sync_times;
  v_winner_id uuid;
  v_booking_id uuid;
  v_refusal text;
  v_error text;
BEGIN
  FOR v_time IN
    SELECT t.*
    FROM auto_sync_times t
    JOIN auto_sync_participants p ON p.auto_sync_id = t.auto_sync_id AND t.id = ANY (p.time_ids)
    WHERE t.auto_sync_id = p_sync.id AND p.removed_at IS NULL
    GROUP BY t.id
    ORDER BY count(*) DESC, t.position
  LOOP
    v_winner_id := COALESCE(v_winner_id, v_time.id);
    EXIT WHEN p_sync.resource_id IS NULL;
    SELECT b.booking_id, b.refusal INTO v_booking_id, v_refusal
    FROM book_auto_sync_time(p_sync, v_time.slot_id, p_now) b;
    IF v_booking_id IS NOT NULL THEN
      v_winner_id := v_time.id;
      EXIT;
    END IF;
    v_error := COALESCE(v_error, v_refusal);
  END LOOP;

  UPDATE auto_syncs a
  SET status = 'completed',
      completed_at = p_now,
      winning_time_id = v_winner_id,
      booking_id = v_booking_id,
      booking_error = CASE WHEN v_booking_id IS NULL THEN v_error END,
      updated_at = p_now
  WHERE a.id = p_sync.id;
  PERFORM make_messages(
    'auto_sync_completed', c.id, 'auto_sync', p_sync.id, concat_ws('/', 'auto_sync_completed', p_sync.id, c.id), 'completed',
    NULL, p_now
  )
  FROM (
    SELECT p.customer_id AS id FROM auto_sync_participants p WHERE p.auto_sync_id = p_sync.id AND p.removed_at IS NULL
    UNION SELECT p_sync.organizer_id WHERE p_sync.organizer_id IS NOT NULL
  ) c;
END
$$
