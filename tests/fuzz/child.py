"""One target under atheris, in a process of its own, which ends when the fuzzer does."""

import ast
import inspect
import logging
import sys
from importlib import import_module
from pathlib import Path

INSTRUMENTED = ["hanaper", "tests.fuzz", "ipaddress", "json", "python_multipart", "starlette", "urllib", "uvicorn"]
LONGEST_WORD = 24


def main() -> None:
    """Arguments: the name of the target, a file for its dictionary, then libFuzzer's."""
    name, dictionary, *options = sys.argv[1:]
    atheris = import_module("atheris")
    # Not its hook for regular expressions: it fails on those of bytes.
    atheris.enabled_hooks.add("str")
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = import_module(f"tests.fuzz.targets.{name}")
        # A fuzzer asks a thousand times a second.
        import_module("hanaper.log").configure("error", "text")
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    Path(dictionary).write_text("".join(f'"{word}"\n' for word in sorted(words())))
    atheris.Setup([sys.argv[0], f"-dict={dictionary}", *options], target.run)
    atheris.Fuzz()


def words() -> set[str]:
    """What the code that has been loaded compares with, or looks for: of that, coverage alone tells nothing."""
    found = set[bytes]()
    for name, module in list(sys.modules.items()):
        if name.startswith("hanaper."):
            for node in ast.walk(ast.parse(inspect.getsource(module))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                    found.add(node.value.encode("utf-8", "replace") if isinstance(node.value, str) else node.value)
    return {"".join(f"\\x{byte:02x}" for byte in word) for word in found if 0 < len(word) <= LONGEST_WORD}


if __name__ == "__main__":
    main()
