-- Promises: what a message to a customer says of an auto-sync, and what the page behind their link shows: what is proposed by
-- whom, what they answered, and what came of it. `participant_id` is null where the customer is not asked.
-- Called by message_body and get_invitation.
CREATE OR REPLACE FUNCTION auto_sync_facts(p_sync auto_syncs, p_customer_id uuid)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_participant auto_sync_participants;
BEGIN
  SELECT * INTO v_participant
  FROM auto_sync_participants p
  WHERE p.auto_sync_id = p_sync.id AND p.customer_id = p_customer_id AND p.removed_at IS NULL;
  RETURN jsonb_build_object(
    'id', p_sync.id,
    'event_name', p_sync.event_name,
    'crew_name', (SELECT w.name FROM crews w WHERE w.id = p_sync.crew_id),
    'organizer_name', (SELECT c.name FROM customers c WHERE c.id = p_sync.organizer_id),
    'status', p_sync.status,
    'participant_id', v_participant.id,
    'answer', v_participant.answer,
    'answered_times', v_participant.time_ids,
    'times', COALESCE(
      (
        SELECT jsonb_agg(
          jsonb_build_object('id', t.id, 'starts_at', t.starts_at, 'ends_at', t.ends_at) ORDER BY t.position
        )
        FROM auto_sync_times t
        WHERE t.auto_sync_id = p_sync.id
      ),
      '[]'
    ),
    'winning_time_id', p_sync.winning_time_id,
    'is_booked', p_sync.booking_id IS NOT NULL,
    'booking_error', p_sync.booking_error,
    'reference', (SELECT b.reference FROM bookings b WHERE b.id = p_sync.booking_id)
  );
END
$$
