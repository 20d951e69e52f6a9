"""What examples/ shows, run as it is written there."""
