CREATE OR REPLACE TRIGGER bookings_sync_reminders_on_insert
AFTER INSERT ON bookings
FOR EACH ROW
WHEN (NEW.status = 'confirmed')
EXECUTE FUNCTION bookings_sync_reminders()
