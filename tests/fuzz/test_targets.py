"""Every reader of what strangers write, with inputs by chance (T26); `make fuzz` goes by coverage, for minutes."""

import os
from importlib import import_module

import pytest
from tests.fuzz import corpus
from tests.fuzz.chance import mutated
from tests.fuzz.targets import NAMES

EXECUTIONS = int(os.environ.get("HANAPER_TEST_FUZZ_EXECUTIONS", "300"))
"""For each target, beside what is kept."""


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_is_read_leads_to_an_accident(name: str) -> None:
    target = import_module(f"tests.fuzz.targets.{name}")
    inputs = corpus.inputs(name)
    number = EXECUTIONS // getattr(target, "COST", 1)
    for data in [*corpus.kept(name), *inputs[:: max(len(inputs) // number, 1)], *mutated(inputs, number)]:
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"{name}: {data!r}")
            raise
