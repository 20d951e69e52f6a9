-- Promises: the customer is in the crew, and is asked by each of its auto-syncs that is not over; once, however often it is
-- said. A language and a zone that are given are the customer's from now on. Called by POST /v1/crews/{id}/members.
-- Locks: crew, customer (if it changes), member, then the crew's live auto-syncs. Raises: SB030 crew_not_found.
CREATE OR REPLACE FUNCTION add_crew_member(
  p_actor jsonb,
  p_crew_id uuid,
  p_customer jsonb,
  p_language text DEFAULT NULL,
  p_timezone text DEFAULT NULL,
  p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_customer_id uuid;
  v_member crew_members;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM lock_crew(p_actor, p_crew_id);
  v_customer_id := upsert_customer(p_customer, p_now);
  UPDATE customers c
  SET language = COALESCE(p_language, c.language), timezone = COALESCE(p_timezone, c.timezone), updated_at = p_now
  WHERE c.id = v_customer_id
    AND (c.language, c.timezone) IS DISTINCT FROM (COALESCE(p_language, c.language), COALESCE(p_timezone, c.timezone));

  INSERT INTO crew_members AS m (crew_id, customer_id, joined_at)
  VALUES (p_crew_id, v_customer_id, p_now)
  ON CONFLICT (crew_id, customer_id) DO UPDATE
    SET left_at = NULL, joined_at = EXCLUDED.joined_at
    WHERE m.left_at IS NOT NULL;
  SELECT * INTO v_member FROM crew_members m WHERE m.crew_id = p_crew_id AND m.customer_id = v_customer_id;
  RETURN crew_member_json(v_member);
END
$$
