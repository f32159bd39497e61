"""Fuzzing guided by coverage (T26): `make fuzz`, and a short form by chance in every run of the tests.

A target is a module in `targets`: `run` takes any bytes and raises where something is not as it has to be, `seeds`
gives bytes to begin with. What fuzzing has found beyond these is kept in `corpus`.
"""
