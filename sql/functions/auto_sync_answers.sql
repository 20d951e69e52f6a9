-- Promises: who is asked by an auto-sync and what each answered, as JSON. Called by get_auto_sync, which has seen that whoever
-- reads may: members of a crew know each other's names.
CREATE OR REPLACE FUNCTION auto_sync_answers(p_auto_sync_id uuid)
RETURNS jsonb
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT COALESCE(
    jsonb_agg(
      jsonb_build_object(
        'id', p.id, 'customer_ref', c.ref, 'name', c.name, 'answer', p.answer, 'times', p.time_ids,
        'answered_at', p.answered_at
      )
      ORDER BY p.created_at, c.name, p.id
    ),
    '[]'
  )
  FROM auto_sync_participants p
  JOIN customers c ON c.id = p.customer_id
  WHERE p.auto_sync_id = p_auto_sync_id AND p.removed_at IS NULL
$$
