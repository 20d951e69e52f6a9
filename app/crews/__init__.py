"""Crews: who is asked together."""
