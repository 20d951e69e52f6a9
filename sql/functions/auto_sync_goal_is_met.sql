-- Promises: whether as many have answered as the goal says, of those who are asked still: all, a number of them (all, where
-- there are fewer), a share, or all who are named. Any answer counts, and without one no goal is met.
-- Called by auto_sync_participants_count and set_auto_sync_status, which hold the auto-sync's row.
CREATE OR REPLACE FUNCTION auto_sync_goal_is_met(p_sync auto_syncs)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT count(p.answer) > 0 AND CASE p_sync.response_goal
      WHEN 'everyone' THEN count(p.answer) = count(*)
      WHEN 'number' THEN count(p.answer) >= LEAST(p_sync.goal_number, count(*))
      WHEN 'share' THEN count(p.answer) >= p_sync.goal_share * count(*)
      ELSE NOT COALESCE(bool_or(p.is_named AND p.answer IS NULL), false)
    END
    FROM auto_sync_participants p
    WHERE p.auto_sync_id = p_sync.id AND p.removed_at IS NULL
  );
END
$$
