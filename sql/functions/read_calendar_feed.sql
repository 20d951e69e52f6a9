-- Promises: the calendar behind the token with that hash, as calendar_bookings answers it, with an ETag that changes when any of its
-- bookings does; no row for a feed that is unknown, revoked or an erased customer's. A calendar that is empty, or that the caller
-- has under that ETag already, is one row without a booking. Called by GET /calendars/{token}.ics. What a customer's feed shows is
-- read as that customer.
CREATE OR REPLACE FUNCTION read_calendar_feed(
  p_token_hash bytea, p_etags text[] DEFAULT '{}', p_now timestamptz DEFAULT now()
)
RETURNS TABLE (
  is_of_resource boolean,
  etag text,
  booking_id uuid,
  reference text,
  resource_name text,
  customer text,
  status text,
  units integer,
  starts_at timestamptz,
  ends_at timestamptz,
  version integer,
  created_at timestamptz,
  updated_at timestamptz
)
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
  v_resource_id uuid;
  v_ref text;
BEGIN
  SELECT f.resource_id, c.ref INTO v_resource_id, v_ref
  FROM calendar_feeds f
  LEFT JOIN customers c ON c.id = f.customer_id
  -- who is erased has no ref, and without one everybody's bookings would be shown
  WHERE f.token_hash = p_token_hash AND f.revoked_at IS NULL AND num_nonnulls(f.resource_id, c.ref) = 1;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  RETURN QUERY
    WITH shown AS MATERIALIZED (
      SELECT * FROM calendar_bookings(v_resource_id, v_ref, p_now)
    ), tag AS (
      SELECT to_hex(COALESCE(bit_xor(hash_record_extended(s, 0)), 0) # hashtextextended('', count(*))) AS etag
      FROM shown s
    )
    SELECT v_resource_id IS NOT NULL, t.etag, s.*
    FROM tag t
    LEFT JOIN shown s ON t.etag <> ALL (p_etags)
    ORDER BY s.starts_at, s.booking_id;
END
$$
