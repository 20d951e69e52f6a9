-- Promises: the one JSON shape of a member, without email and phone: other members read it.
-- Called by add_crew_member, remove_crew_member and list_crew_members.
CREATE OR REPLACE FUNCTION crew_member_json(p_member crew_members)
RETURNS json
LANGUAGE plpgsql
STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
  RETURN (
    SELECT json_build_object(
      'id', p_member.id, 'crew_id', p_member.crew_id, 'customer_ref', c.ref, 'name', c.name,
      'joined_at', p_member.joined_at, 'left_at', p_member.left_at
    )
    FROM customers c
    WHERE c.id = p_member.customer_id
  );
END
$$
