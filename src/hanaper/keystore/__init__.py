"""RSA private keys at rest, encrypted under the key encryption key."""
