"""Holdfast: a headless booking backend."""
