"""Resolves the dependencies of pyproject.toml into requirements.lock.

One file, four parts, each behind its marker line: what runs, what builds, what develops, what fuzzes. Versions and
hashes for every platform, no host. Needs `uv` on the path (`pip install uv`).
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
HEADER = """\
# All dependencies, pinned with hashes. Made by `make lock` from pyproject.toml; do not edit.
# Everything:    pip install --require-hashes -r requirements.lock
# What runs:     the lines before "# --- build ---"; without fuzzing: those before "# --- fuzzing ---".
"""
COMMAND = ["uv", "pip", "compile", "--universal", "--generate-hashes", "--no-emit-index-url", "--no-header"]
# With extras: pip 23.2 takes `coverage[toml]` for unpinned where only `coverage` is pinned.
COMMAND += ["--no-strip-extras", "--no-annotate", "--quiet", "pyproject.toml"]


def resolve(constraints: Path, *groups: str) -> dict[str, str]:
    """Packages by name, each with its line and its hashes, or several, for different versions of Python."""
    # With the extra: it is small, and whoever has the image can add nothing to it.
    options = ["--extra", "pkcs11", *(option for group in groups for option in ("--group", group))]
    found = subprocess.run(
        [*COMMAND, "--constraint", str(constraints), *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        sys.exit(found.stderr)
    parts = re.split(r"(?m)^(?=[a-z0-9])", found.stdout)
    packages: dict[str, str] = {}
    for part in parts:
        if "==" in part:
            name = re.split(r"\[|==", part)[0]
            packages[name] = packages.get(name, "") + part.rstrip("\n") + "\n"
    return packages


def main() -> None:
    """Write the lock file."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("")
        everything = resolve(constraints, "build", "dev", "fuzz")
        pinned = re.findall(r"(?m)^([^ \n].*?)(?: \\)?$", "".join(everything.values()))
        constraints.write_text("\n".join(pinned))
        runtime = resolve(constraints)
        build = resolve(constraints, "build")
        development = resolve(constraints, "build", "dev")
    text = HEADER + "".join(runtime.values())
    text += "# --- build ---\n" + "".join(part for name, part in build.items() if name not in runtime)
    text += "# --- development ---\n" + "".join(part for name, part in development.items() if name not in build)
    text += "# --- fuzzing ---\n" + "".join(part for name, part in everything.items() if name not in development)
    LOCK.write_text(text)
    print(f"{LOCK.name}: {len(runtime)} packages run, {len(everything)} in all")


if __name__ == "__main__":
    main()
