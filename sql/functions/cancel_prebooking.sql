-- Promises: the prebooking will not fire; cancelling twice is once. Called by POST /v1/prebookings/{id}/cancel.
-- Locks: prebooking, then its jobs.
-- Raises: SB024 prebooking_not_found, SB007 invalid_transition (it has fired, or is about to).
CREATE OR REPLACE FUNCTION cancel_prebooking(
  p_actor jsonb, p_prebooking_id uuid, p_reason text DEFAULT NULL, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_prebooking prebookings;
BEGIN
  PERFORM set_config('holdfast.actor', (p_actor || jsonb_build_object('reason', p_reason))::text, true);
  PERFORM get_prebooking(p_prebooking_id, p_actor ->> 'customer_ref');
  SELECT * INTO v_prebooking FROM prebookings p WHERE p.id = p_prebooking_id FOR NO KEY UPDATE;
  CASE v_prebooking.status
    WHEN 'pending' THEN
      UPDATE prebookings p SET status = 'cancelled', updated_at = p_now WHERE p.id = p_prebooking_id;
    WHEN 'cancelled' THEN
      NULL;
    ELSE
      RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
        DETAIL = json_build_object('prebooking_id', p_prebooking_id, 'from', v_prebooking.status, 'to', 'cancelled');
  END CASE;
  RETURN get_prebooking(p_prebooking_id);
END
$$
