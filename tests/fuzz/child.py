"""One target under atheris, in a process of its own, which ends when the fuzzer does."""

import sys
from importlib import import_module

INSTRUMENTED = ["hanaper", "tests.fuzz", "ipaddress", "json", "python_multipart", "starlette", "urllib", "uvicorn"]


def main() -> None:
    """Arguments: the name of the target, then libFuzzer's."""
    name, *options = sys.argv[1:]
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = import_module(f"tests.fuzz.targets.{name}")
        import_module("tests.fuzz.site").be_quiet()
    atheris.Setup([sys.argv[0], *options], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
