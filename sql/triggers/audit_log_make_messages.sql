-- What nobody is told of costs no call.
CREATE OR REPLACE TRIGGER audit_log_make_messages
AFTER INSERT ON audit_log
FOR EACH ROW
WHEN (
  NEW.event IN (
    'booking.created', 'booking.confirmed', 'booking.rescheduled', 'booking.cancelled', 'booking.expired',
    'booking.failed', 'prebooking.succeeded', 'prebooking.failed'
  )
)
EXECUTE FUNCTION audit_log_make_messages()
