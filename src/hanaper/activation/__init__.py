"""Using license keys: verify, activate, deactivate, and the details of one (protocol.md 4.3)."""
