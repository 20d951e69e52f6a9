-- Promises: the last id that was drawn for an audit row, and a transaction before which every one that drew it, or an earlier
-- one, began to write: when all before that transaction are over, nothing is added up to that id any more. Called by the making
-- of checkpoints.
CREATE OR REPLACE FUNCTION audit_mark(OUT up_to bigint, OUT before xid8)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  up_to := pg_sequence_last_value(pg_get_serial_sequence('audit_log', 'id')::regclass);
  before := pg_current_xact_id();
END
$$
