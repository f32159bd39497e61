"""The long measurements, `make bench` and `make bench-growth`, which fill docs/performance.md."""
