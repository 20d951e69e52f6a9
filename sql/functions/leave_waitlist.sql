-- Promises: the customer stands in that line no more; a place that was offered goes to the next. Leaving twice is once.
-- Called by POST /v1/waitlist/{id}/leave. Locks: slots by id, entry, booking, then its jobs.
-- Raises: SB007 invalid_transition, what lock_waitlist_entry raises.
CREATE OR REPLACE FUNCTION leave_waitlist(p_actor jsonb, p_entry_id uuid, p_now timestamptz DEFAULT now())
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_entry waitlist_entries;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  v_entry := lock_waitlist_entry(p_actor, p_entry_id);
  CASE v_entry.status
    WHEN 'waiting' THEN
      UPDATE waitlist_entries w SET status = 'cancelled', updated_at = p_now WHERE w.id = p_entry_id;
    WHEN 'offered' THEN
      -- the entry follows by trigger
      UPDATE bookings b SET status = 'cancelled', updated_at = p_now WHERE b.id = v_entry.booking_id;
    WHEN 'cancelled' THEN
      NULL;
    ELSE
      RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
        DETAIL = json_build_object('waitlist_entry_id', p_entry_id, 'from', v_entry.status, 'to', 'cancelled');
  END CASE;
  RETURN get_waitlist_entry(p_entry_id);
END
$$
