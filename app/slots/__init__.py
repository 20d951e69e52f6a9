"""When it can be booked."""
