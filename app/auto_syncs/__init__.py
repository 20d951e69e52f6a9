"""Auto-syncs: a crew is asked whether and when, reminded, and booked."""
