-- Promises: whether the caller may pass over rules of the house (notice, window, cut-off, limit a customer): an admin
-- who gives a reason, which the audit trail keeps. Nobody passes over capacity. Called by the require_* functions.
CREATE OR REPLACE FUNCTION may_override(p_actor jsonb)
RETURNS boolean
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN COALESCE(p_actor ->> 'type' = 'admin' AND p_actor ->> 'reason' <> '', false)
