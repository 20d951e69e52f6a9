-- Promises: the id of the customer the caller means: the one with that ref, or a new one where no ref is given.
-- Called by create_booking_safe and import_booking. What is given replaces what was stored; what is absent stays.
-- Locks: the customer's row, against others only when it is new or something in it changes, and against being erased.
CREATE OR REPLACE FUNCTION upsert_customer(p_customer jsonb, p_now timestamptz DEFAULT now())
RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_ref text := p_customer ->> 'ref';
  v_name text := p_customer ->> 'name';
  v_email text := p_customer ->> 'email';
  v_phone text := p_customer ->> 'phone';
  v_id uuid;
BEGIN
  -- a returning customer is the common case and must not write
  SELECT c.id INTO v_id
  FROM customers c
  WHERE c.ref = v_ref
    AND (v_name IS NULL OR c.name = v_name)
    AND (v_email IS NULL OR c.email = v_email)
    AND (v_phone IS NULL OR c.phone = v_phone)
  -- as the foreign key of what is made for it would a moment later: an erasure comes before or after, not between
  FOR KEY SHARE;
  IF FOUND THEN
    RETURN v_id;
  END IF;

  INSERT INTO customers AS c (ref, name, email, phone, created_at, updated_at)
  VALUES (v_ref, v_name, v_email, v_phone, p_now, p_now)
  ON CONFLICT (ref) DO UPDATE
    SET name = COALESCE(EXCLUDED.name, c.name),
        email = COALESCE(EXCLUDED.email, c.email),
        phone = COALESCE(EXCLUDED.phone, c.phone),
        updated_at = EXCLUDED.updated_at
  RETURNING c.id INTO v_id;
  RETURN v_id;
END
$$
