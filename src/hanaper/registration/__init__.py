"""Entering license keys in the register: create-license-keys, in both of its forms (protocol.md 4.4)."""
