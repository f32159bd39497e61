"""Plants a fault into every process of a program, before it begins: see tests/support/mutants.py."""

import importlib
import os

importlib.import_module(os.environ["MUTANT"])
