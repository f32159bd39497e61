"""Measuring a server on the machine it runs on: the short form is `hanaper bench`, the long one `benchmarks/`."""
