-- Promises: the organizer has a booking in the slot, or why not, as a code; then nothing was done. Called by
-- complete_auto_sync. Who acted still acts afterwards. Locks: what create_booking_safe locks.
CREATE OR REPLACE FUNCTION book_auto_sync_time(
  p_sync auto_syncs, p_slot_id uuid, p_now timestamptz DEFAULT now(), OUT booking_id uuid, OUT refusal text
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_actor text := current_setting('holdfast.actor', true);
  v_ref text := (SELECT c.ref FROM customers c WHERE c.id = p_sync.organizer_id);
BEGIN
  IF v_ref IS NULL THEN
    refusal := 'organizer_without_ref';
    RETURN;
  END IF;

  BEGIN
    -- not whoever answered last: a customer books for that customer alone
    SELECT b.booking_id INTO booking_id
    FROM create_booking_safe(
      jsonb_build_object('type', 'system', 'id', 'auto_sync'),
      p_slot_id,
      jsonb_build_object('ref', v_ref),
      p_sync.units,
      p_metadata => jsonb_build_object('auto_sync_id', p_sync.id),
      p_now => p_now
    ) b;
  EXCEPTION
    -- the whole class: whatever the rules of booking refuse
    WHEN SQLSTATE 'SB000' THEN
      refusal := SQLERRM;
  END;
  PERFORM set_config('holdfast.actor', COALESCE(v_actor, ''), true);
END
$$
