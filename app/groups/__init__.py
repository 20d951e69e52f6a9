"""Several bookings in one step."""
