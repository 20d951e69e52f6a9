-- Promises: how long to wait after that many attempts: 10 s, doubled each time, an hour at most, less up to half of it at
-- random, so that what failed together does not come back together. Called by return_job.
CREATE OR REPLACE FUNCTION retry_delay(p_attempt integer)
RETURNS interval
LANGUAGE sql
VOLATILE
RETURN LEAST(interval '10 seconds' * power(2, LEAST(p_attempt, 20) - 1), interval '1 hour') * (0.5 + 0.5 * random())
