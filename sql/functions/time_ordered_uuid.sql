-- Promises: a UUID that sorts by the moment it was made, to the microsecond (RFC 9562, version 7 with the fraction of the
-- millisecond in rand_a), so that a table's key grows at its end. Called as the default of ids.
CREATE OR REPLACE FUNCTION time_ordered_uuid(p_now timestamptz DEFAULT clock_timestamp())
RETURNS uuid
LANGUAGE sql
VOLATILE PARALLEL SAFE
RETURN (
  SELECT encode(
    int8send((t.us / 1000) << 16 | 28672 | t.us % 1000 * 4096 / 1000) || substring(uuid_send(gen_random_uuid()) FROM 9),
    'hex'
  )::uuid
  FROM (SELECT (extract(epoch FROM p_now) * 1000000)::bigint AS us) t
)
