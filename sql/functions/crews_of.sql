-- Promises: the crews that a customer belongs to: as their organizer, or as a member who has not left.
-- Called by whatever shows crews and auto-syncs to a customer.
CREATE OR REPLACE FUNCTION crews_of(p_customer_ref text)
RETURNS SETOF uuid
LANGUAGE sql
STABLE
SET search_path FROM CURRENT
AS $$
  SELECT w.id FROM crews w JOIN customers c ON c.id = w.organizer_id WHERE c.ref = p_customer_ref
  UNION
  SELECT m.crew_id
  FROM crew_members m
  JOIN customers c ON c.id = m.customer_id
  WHERE c.ref = p_customer_ref AND m.left_at IS NULL
$$
