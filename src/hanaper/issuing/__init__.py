"""Generators, and POST /generate."""
