-- Promises: the queue in which jobs at that provider wait. Called by whatever enqueues one or limits them.
CREATE OR REPLACE FUNCTION provider_queue(p_provider text)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN 'provider:' || p_provider
