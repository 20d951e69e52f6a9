-- Promises: whether nobody may claim from the queue: paused, and not until a time that has come. No for one nobody has set.
-- Called by queue_room, queue_json and next_job_due_in. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION queue_is_paused(p_queue job_queues, p_now timestamptz)
RETURNS boolean
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN (p_queue).paused_at IS NOT NULL AND COALESCE((p_queue).resume_at > p_now, true)
