CREATE OR REPLACE TRIGGER schedules_move_openings
AFTER UPDATE OF booking_window_days, opens_at_local ON schedules
FOR EACH ROW
WHEN (
  OLD.booking_window_days IS DISTINCT FROM NEW.booking_window_days OR OLD.opens_at_local <> NEW.opens_at_local
)
EXECUTE FUNCTION move_openings()
