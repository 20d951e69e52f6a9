"""read_events: every change is told once, in order, and only to whom it may be told."""
