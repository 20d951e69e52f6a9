"""Bookings as calendars read them."""
