-- Promises: the member is no more in the crew, and nobody waits for their answer; removing twice is once. Whoever goes may
-- be who was waited for last: then an auto-sync completes. Called by DELETE /v1/crews/{id}/members/{id}.
-- Locks: crew, member, the crew's live auto-syncs, then what completing them locks.
-- Raises: SB030 crew_not_found, SB031 crew_member_not_found.
CREATE OR REPLACE FUNCTION remove_crew_member(
  p_actor jsonb, p_crew_id uuid, p_member_id uuid, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_member crew_members;
  v_goes_alone boolean;
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  -- everybody may go by themselves
  SELECT m.* INTO v_member
  FROM crew_members m
  JOIN customers c ON c.id = m.customer_id
  WHERE m.id = p_member_id AND m.crew_id = p_crew_id AND c.ref = p_actor ->> 'customer_ref';
  v_goes_alone := FOUND;
  IF v_member.left_at IS NOT NULL THEN
    RETURN crew_member_json(v_member);
  END IF;

  PERFORM lock_crew(CASE WHEN v_goes_alone THEN p_actor - 'customer_ref' ELSE p_actor END, p_crew_id);
  UPDATE crew_members m SET left_at = p_now WHERE m.id = p_member_id AND m.crew_id = p_crew_id AND m.left_at IS NULL;
  SELECT * INTO v_member FROM crew_members m WHERE m.id = p_member_id AND m.crew_id = p_crew_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'crew_member_not_found' USING ERRCODE = 'SB031',
      DETAIL = json_build_object('crew_id', p_crew_id, 'member_id', p_member_id);
  END IF;
  RETURN crew_member_json(v_member);
END
$$
