"""Backups: made beside a server at work, restored into an empty place, in quarantine (reliability.md T11)."""
