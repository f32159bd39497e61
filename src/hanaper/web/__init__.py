"""The HTTP edge: parameters in, signed responses out, failures mapped in one place."""
