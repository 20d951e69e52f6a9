"""What customers are told of their bookings, by email and SMS."""
