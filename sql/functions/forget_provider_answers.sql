-- Promises: what providers said of prebookings, confirmations included, is forgotten p_keep after the prebookings were over, at
-- most p_limit rows a call; not of a customer under a legal hold. That they were asked, and what came of it, stays. Called by the
-- job processor. Locks: the prebookings or attempts that it empties, SKIP LOCKED.
CREATE OR REPLACE FUNCTION forget_provider_answers(
  p_actor jsonb, p_limit integer, p_keep interval DEFAULT '365 days', p_now timestamptz DEFAULT now()
)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_forgotten integer;
  v_attempts integer;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  UPDATE prebookings p SET detail = NULL, confirmation = NULL
  WHERE p.id IN (
    SELECT o.id
    FROM prebookings o
    JOIN customers c ON c.id = o.customer_id
    WHERE o.status IN ('succeeded', 'failed', 'cancelled') AND (o.detail IS NOT NULL OR o.confirmation IS NOT NULL)
      AND o.updated_at < p_now - p_keep AND c.legal_hold_since IS NULL
    ORDER BY o.updated_at
    LIMIT p_limit
    FOR UPDATE OF o SKIP LOCKED
  );
  GET DIAGNOSTICS v_forgotten = ROW_COUNT;
  UPDATE prebooking_attempts a SET detail = NULL, confirmation = NULL
  WHERE a.id IN (
    SELECT o.id
    FROM prebooking_attempts o
    JOIN prebookings p ON p.id = o.prebooking_id
    JOIN customers c ON c.id = p.customer_id
    WHERE (o.detail IS NOT NULL OR o.confirmation IS NOT NULL) AND o.started_at < p_now - p_keep
      AND p.status IN ('succeeded', 'failed', 'cancelled') AND p.updated_at < p_now - p_keep AND c.legal_hold_since IS NULL
    ORDER BY o.started_at
    LIMIT p_limit - v_forgotten
    FOR UPDATE OF o SKIP LOCKED
  );
  GET DIAGNOSTICS v_attempts = ROW_COUNT;
  RETURN v_forgotten + v_attempts;
END
$$
