"""A provider to play with: a booking site of its own, over real HTTP, as friendly or as hostile as it is told."""
