-- Promises: why a slot cannot be booked, the lasting reason first; NULL where it can. Called by slot_offers and
-- require_open_slot, so that what is listed as free is what is taken. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION slot_reason(
  p_is_legacy boolean, p_starts_at timestamptz, p_min_notice_minutes integer, p_opens_at timestamptz, p_now timestamptz
)
RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN p_is_legacy THEN 'closed'
  WHEN p_starts_at <= p_now THEN 'past'
  WHEN extract(epoch FROM p_starts_at - p_now) < p_min_notice_minutes * 60 THEN 'notice'
  WHEN p_opens_at > p_now THEN 'not_open'
END
