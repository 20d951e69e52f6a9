"""What books outside: one adapter for each kind of provider."""
