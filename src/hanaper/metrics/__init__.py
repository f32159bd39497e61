"""What a running server counts and times, and how Prometheus reads it. Off by default."""
