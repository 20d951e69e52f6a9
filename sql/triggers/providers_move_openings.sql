CREATE OR REPLACE TRIGGER providers_move_openings
AFTER UPDATE OF booking_window_days, opens_at_local, timezone ON providers
FOR EACH ROW
WHEN (
  OLD.booking_window_days IS DISTINCT FROM NEW.booking_window_days OR OLD.opens_at_local <> NEW.opens_at_local
  OR OLD.timezone <> NEW.timezone
)
EXECUTE FUNCTION move_openings()
