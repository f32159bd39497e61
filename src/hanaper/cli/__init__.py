"""The `hanaper` command, one file per command family."""
