-- Promises: what the table holds stays. Called by triggers on tables whose rows are history or business facts.
-- Raises: SB012 change_refused.
CREATE OR REPLACE FUNCTION refuse_change()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  RAISE EXCEPTION 'change_refused' USING ERRCODE = 'SB012',
    DETAIL = json_build_object('table', TG_TABLE_NAME, 'operation', lower(TG_OP));
END
$$
