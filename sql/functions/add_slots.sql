-- Promises: every given slot exists afterwards; one that existed with these times stays as it is and counts as kept.
-- Called by POST /v1/resources/{id}/slots. Locks: resource.
-- Raises: what set_answer_timezone raises.
CREATE OR REPLACE FUNCTION add_slots(
  p_actor jsonb, p_resource_id uuid, p_slots jsonb, p_now timestamptz DEFAULT now()
)
RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_created uuid[];
BEGIN
  PERFORM set_config('holdfast.actor', p_actor::text, true);
  PERFORM set_answer_timezone(ARRAY[p_resource_id], 'UTC');
  -- whoever makes several slots of a resource has it locked: in the unique index two would meet in any order
  PERFORM FROM resources r WHERE r.id = p_resource_id FOR NO KEY UPDATE;

  WITH created AS (
    INSERT INTO slots (resource_id, starts_at, ends_at, max_bookings, max_units, created_at, updated_at)
    SELECT p_resource_id, g.starts_at, g.ends_at, g.max_bookings, g.max_units, p_now, p_now
    FROM jsonb_to_recordset(p_slots) AS g (
      starts_at timestamptz, ends_at timestamptz, max_bookings integer, max_units integer
    )
    ON CONFLICT (resource_id, starts_at, ends_at) DO NOTHING
    RETURNING id
  )
  SELECT COALESCE(array_agg(id), '{}') INTO v_created FROM created;

  RETURN json_build_object(
    'created', cardinality(v_created),
    'kept', jsonb_array_length(p_slots) - cardinality(v_created),
    'slots', (
      SELECT COALESCE(json_agg(to_json(o)), '[]')
      FROM slot_offers(
        NULL,
        NULL,
        NULL,
        ARRAY(
          SELECT s.id
          FROM slots s
          JOIN jsonb_to_recordset(p_slots) AS g (starts_at timestamptz, ends_at timestamptz)
            ON s.starts_at = g.starts_at AND s.ends_at = g.ends_at
          WHERE s.resource_id = p_resource_id
        ),
        1,
        p_now
      ) o
    )
  );
END
$$
