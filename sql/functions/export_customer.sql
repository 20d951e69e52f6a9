-- Promises: everything that is held on a customer, as one document; of credentials and calendar feeds that they are there, never the
-- secret.
-- Called by POST /v1/customers/{ref}/export. Raises: SB037 customer_not_found.
CREATE OR REPLACE FUNCTION export_customer(p_customer_ref text)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer customers;
BEGIN
  SELECT * INTO v_customer FROM customers c WHERE c.id = (SELECT find_customer(p_customer_ref));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'customer_not_found' USING ERRCODE = 'SB037', DETAIL = '{}';
  END IF;
  RETURN json_build_object(
    'customer', to_jsonb(v_customer),
    'bookings', (
      SELECT COALESCE(json_agg(booking_json(b, v_customer.ref) ORDER BY b.created_at, b.id), '[]')
      FROM bookings b WHERE b.customer_id = v_customer.id
    ),
    'prebookings', (
      SELECT COALESCE(json_agg(prebooking_json(p) ORDER BY p.created_at, p.id), '[]')
      FROM prebookings p WHERE p.customer_id = v_customer.id
    ),
    'waitlist_entries', (
      SELECT COALESCE(json_agg(to_jsonb(w) ORDER BY w.created_at, w.id), '[]')
      FROM waitlist_entries w WHERE w.customer_id = v_customer.id
    ),
    'messages', (
      SELECT COALESCE(json_agg(to_jsonb(m) ORDER BY m.created_at, m.id), '[]')
      FROM messages m WHERE m.customer_id = v_customer.id
    ),
    'crew_memberships', (
      SELECT COALESCE(json_agg(to_jsonb(m) || jsonb_build_object('crew_name', w.name) ORDER BY m.joined_at, m.id), '[]')
      FROM crew_members m JOIN crews w ON w.id = m.crew_id WHERE m.customer_id = v_customer.id
    ),
    'responses', (
      SELECT COALESCE(json_agg(to_jsonb(t) || jsonb_build_object('event_name', a.event_name) ORDER BY t.created_at, t.id), '[]')
      FROM auto_sync_participants t JOIN auto_syncs a ON a.id = t.auto_sync_id WHERE t.customer_id = v_customer.id
    ),
    'credentials', (
      SELECT COALESCE(json_agg(credentials_json(c, v_customer.ref) ORDER BY c.created_at, c.id), '[]')
      FROM provider_credentials c WHERE c.customer_id = v_customer.id
    ),
    'calendar_feeds', (
      SELECT COALESCE(json_agg(to_jsonb(f) - 'token_hash' ORDER BY f.created_at, f.id), '[]')
      FROM calendar_feeds f WHERE f.customer_id = v_customer.id
    ),
    'payment_events', (
      SELECT COALESCE(json_agg(to_jsonb(e) ORDER BY e.created_at, e.id), '[]')
      FROM payment_events e JOIN bookings b ON b.id = e.booking_id WHERE b.customer_id = v_customer.id
    ),
    'audit_entries', (
      SELECT COALESCE(json_agg(to_jsonb(a) - '{position,prev_hash,hash,xid,address_salt,address_hash}'::text[] ORDER BY a.id), '[]')
      FROM audit_log a
      WHERE a.id IN (
        SELECT o.id FROM audit_log o WHERE o.performed_by_id LIKE 'customer:%' AND o.performed_by_id = 'customer:' || v_customer.ref
        UNION
        SELECT * FROM customer_audit_entries(v_customer.id)
      )
    )
  );
END
$$
