-- Promises: the auto-syncs of the crews of the customer who acts in this transaction, whoever asks.
-- Called by the row-level policies, as the owner of the tables.
CREATE OR REPLACE FUNCTION own_auto_syncs()
RETURNS SETOF uuid
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
  SELECT a.id FROM auto_syncs a WHERE a.crew_id IN (SELECT own_crews())
$$
