"""Servers with a fault that is planted on purpose: a check that does not find it proves nothing."""

from pathlib import Path

MUTANTS = Path(__file__).parents[1] / "mutants"


def mutant(name: str) -> dict[str, str]:
    """The environment in which every process of a program has the fault, its workers too.

    Python itself imports a `sitecustomize` that it finds on its path. So the program need not know of any of this.
    """
    return {"PYTHONPATH": str(MUTANTS), "MUTANT": name}
