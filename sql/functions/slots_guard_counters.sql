-- Promises: nobody but the bookings themselves changes what a slot counts as booked.
-- Called by triggers slots_guard_counters_on_insert and _on_update, for writes that no other trigger made.
-- Raises: SB012 change_refused.
CREATE OR REPLACE FUNCTION slots_guard_counters()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  RAISE EXCEPTION 'change_refused' USING ERRCODE = 'SB012',
    DETAIL = json_build_object('table', TG_TABLE_NAME, 'columns', json_build_array('booked_bookings', 'booked_units'));
END
$$
