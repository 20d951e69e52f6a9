-- Promises: when booking opens for a slot: so many days before its date, at that time of day in the resource's zone.
-- NULL where there is no window. Called by slot_offers and require_open_slot. One expression, so that it is inlined.
CREATE OR REPLACE FUNCTION slot_opens_at(
  p_starts_at timestamptz, p_timezone text, p_window_days integer, p_opens_at_local time
)
RETURNS timestamptz
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN ((p_starts_at AT TIME ZONE p_timezone)::date - p_window_days + p_opens_at_local) AT TIME ZONE p_timezone
