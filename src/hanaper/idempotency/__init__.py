"""Idempotency keys: a request that is sent again is carried out once, and answered alike (protocol.md 7.1)."""
