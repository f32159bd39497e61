"""How much of a long test is run: reliability.md names two amounts for each."""

import os

RELEASE = os.environ.get("HANAPER_TEST_PROFILE") == "release"
"""Else that of every submission."""


def amount(usual: int, before_a_release: int) -> int:
    return before_a_release if RELEASE else usual
