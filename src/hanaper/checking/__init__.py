"""Checking that what is stored is whole (reliability.md 2.0, T12)."""
