-- Promises: a prebooking's status takes only these steps, whoever writes, and each change grows its version.
-- Called by trigger prebookings_guard_update. Raises: SB007 invalid_transition.
CREATE OR REPLACE FUNCTION prebookings_guard_update()
RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
  IF OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
    ('pending', 'executing'), ('pending', 'succeeded'), ('pending', 'failed'), ('pending', 'cancelled'),
    ('executing', 'succeeded'), ('executing', 'failed')
  ) THEN
    RAISE EXCEPTION 'invalid_transition' USING ERRCODE = 'SB007',
      DETAIL = json_build_object('prebooking_id', OLD.id, 'from', OLD.status, 'to', NEW.status);
  END IF;
  NEW.version := OLD.version + 1;
  RETURN NEW;
END
$$
