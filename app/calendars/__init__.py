"""Bookings as calendars read them, with a bearer token or at a secret address."""
