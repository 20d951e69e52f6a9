"""Providers outside: what booking there takes, and the adapters that can."""
