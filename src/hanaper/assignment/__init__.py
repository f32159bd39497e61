"""Giving license keys to their owners, one by one or drawn from what is available (protocol.md 4.5)."""
