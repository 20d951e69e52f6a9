-- Promises: the ids of everything that is a customer's own, as the audit trail names it. Called by erase_customer and
-- export_customer.
CREATE OR REPLACE FUNCTION customer_subjects(p_customer_id uuid)
RETURNS TABLE (subject_type text, subject_id text)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN QUERY
    SELECT 'customer', p_customer_id::text
    UNION ALL
    SELECT 'booking', b.id::text FROM bookings b WHERE b.customer_id = p_customer_id
    UNION ALL
    SELECT 'prebooking', p.id::text FROM prebookings p WHERE p.customer_id = p_customer_id
    UNION ALL
    SELECT 'waitlist_entry', w.id::text FROM waitlist_entries w WHERE w.customer_id = p_customer_id
    UNION ALL
    SELECT 'crew_member', m.id::text FROM crew_members m WHERE m.customer_id = p_customer_id
    UNION ALL
    SELECT 'auto_sync_participant', t.id::text FROM auto_sync_participants t WHERE t.customer_id = p_customer_id
    UNION ALL
    SELECT 'calendar_feed', f.id::text FROM calendar_feeds f WHERE f.customer_id = p_customer_id
    UNION ALL
    -- of credentials that are deleted only the trail knows
    SELECT DISTINCT 'credentials', a.subject_id
    FROM audit_log a
    WHERE a.subject_type = 'credentials' AND COALESCE(a.new_values, a.old_values) ->> 'customer_id' = p_customer_id::text;
END
$$
