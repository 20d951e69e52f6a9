-- Promises: the audit trail has one more partition, empty, with all that another one has. Called by make_audit_partitions.
-- Locks: the trail against other changes of its shape; the partition for what no other takes, for an instant.
CREATE OR REPLACE FUNCTION add_audit_partition(p_name text, p_like text, p_bound text)
RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  -- attached afterwards, for CREATE TABLE … PARTITION OF would lock everybody out
  EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING IDENTITY)', p_name, p_like);
  -- a trigger for statements fires for the table that they name
  EXECUTE format(
    'CREATE TRIGGER audit_log_refuse_change BEFORE DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
    p_name
  );
  EXECUTE format('ALTER TABLE audit_log ATTACH PARTITION %I %s', p_name, p_bound);
END
$$
