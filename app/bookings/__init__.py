"""Taking places in slots."""
