"""What happens, told to whoever follows it."""
