-- Promises: of the next p_limit subjects in a month that will be dropped, each run of rows is noted as the one link of its chain
-- that it leaves: from which position to which, chained to what, and the last hash. Answers how many subjects, at most p_limit.
-- Called by drop_audit_month until none is left.
CREATE OR REPLACE FUNCTION note_dropped_audit_rows(p_month text, p_number integer, p_limit integer)
RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
  v_type text;
  v_id text;
  v_noted integer;
BEGIN
  SELECT d.subject_type, d.subject_id INTO v_type, v_id
  FROM audit_dropped d
  WHERE d.number = p_number
  ORDER BY d.subject_type DESC, d.subject_id DESC
  LIMIT 1;
  EXECUTE format(
    $query$
      WITH subjects AS MATERIALIZED (
        SELECT DISTINCT a.subject_type, a.subject_id
        FROM %1$I a
        WHERE (a.subject_type, a.subject_id) > ($2, $3)
        ORDER BY a.subject_type, a.subject_id
        LIMIT $4
      ), noted AS (
        INSERT INTO audit_dropped (number, subject_type, subject_id, first_position, prev_hash, last_position, hash)
        SELECT $1, r.subject_type, r.subject_id, min(r.position), (array_agg(r.prev_hash ORDER BY r.position))[1],
          max(r.position), (array_agg(r.hash ORDER BY r.position DESC))[1]
        FROM (
          SELECT a.*, a.position - row_number() OVER (PARTITION BY a.subject_type, a.subject_id ORDER BY a.position) AS run
          FROM %1$I a
          JOIN subjects USING (subject_type, subject_id)
        ) r
        GROUP BY r.subject_type, r.subject_id, r.run
      )
      SELECT count(*) FROM subjects
    $query$,
    p_month
  ) INTO v_noted USING p_number, COALESCE(v_type, ''), COALESCE(v_id, ''), p_limit;
  RETURN v_noted;
END
$$
