"""Providers outside: what an admin says of each, and how what customers entrust to us for them is encrypted."""
