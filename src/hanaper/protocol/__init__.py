"""Pure data that travels: codes, payload bytes, the envelope."""
