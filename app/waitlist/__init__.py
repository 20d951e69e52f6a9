"""The line for a slot that is full."""
