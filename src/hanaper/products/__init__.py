"""Products and their public keys."""
