-- Promises: whether nothing of the customer's happened since p_since, and nothing is still to happen; false under a legal hold and
-- of whom was erased. Called by enqueue_idle_customers, and by erase_customer for whoever says since when.
CREATE OR REPLACE FUNCTION is_idle_customer(p_customer customers, p_since timestamptz)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN p_customer.erased_at IS NULL AND p_customer.legal_hold_since IS NULL AND p_customer.updated_at < p_since
    AND NOT EXISTS (
      SELECT FROM bookings b
      WHERE b.customer_id = p_customer.id
        AND (b.ends_at >= p_since OR b.updated_at >= p_since OR b.status IN ('pending', 'confirmed'))
    )
    AND NOT EXISTS (
      SELECT FROM prebookings p
      WHERE p.customer_id = p_customer.id AND (p.updated_at >= p_since OR p.status IN ('pending', 'executing'))
    )
    AND NOT EXISTS (
      SELECT FROM waitlist_entries w
      WHERE w.customer_id = p_customer.id AND (w.updated_at >= p_since OR w.status IN ('waiting', 'offered'))
    )
    AND NOT EXISTS (
      SELECT FROM crew_members m
      WHERE m.customer_id = p_customer.id AND GREATEST(m.joined_at, m.left_at) >= p_since
    )
    AND NOT EXISTS (SELECT FROM crews c WHERE c.organizer_id = p_customer.id AND c.updated_at >= p_since)
    AND NOT EXISTS (
      SELECT FROM auto_sync_participants a
      JOIN auto_syncs s ON s.id = a.auto_sync_id
      WHERE a.customer_id = p_customer.id AND (a.updated_at >= p_since OR s.status IN ('running', 'paused'))
    )
    AND NOT EXISTS (
      SELECT FROM auto_syncs s
      JOIN crews c ON c.id = s.crew_id
      WHERE c.organizer_id = p_customer.id AND (s.updated_at >= p_since OR s.status IN ('running', 'paused'))
    )
    AND NOT EXISTS (
      SELECT FROM messages m
      WHERE m.customer_id = p_customer.id AND (m.updated_at >= p_since OR m.status IN ('pending', 'sending'))
    )
    AND NOT EXISTS (SELECT FROM provider_credentials k WHERE k.customer_id = p_customer.id AND k.created_at >= p_since)
    AND NOT EXISTS (
      SELECT FROM calendar_feeds f
      WHERE f.customer_id = p_customer.id AND GREATEST(f.created_at, f.revoked_at) >= p_since
    );
END
$$
