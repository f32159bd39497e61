"""Calls to addresses that others have named."""
