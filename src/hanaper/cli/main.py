"""The `hanaper` command."""

import sys
from typing import Annotated, NoReturn

import typer

from hanaper import __version__, log
from hanaper.cli import (
    api_key,
    audit,
    backup,
    bench,
    block_list,
    check_store,
    db,
    demo,
    doctor,
    generate,
    generator,
    init,
    key,
    product,
    public_key,
    quarantine,
    restore,
    serve,
    signing_key,
    verify,
)
from hanaper.cli.output import note
from hanaper.clock import ClockWrong
from hanaper.refusal import EXIT_BUG, Fault, Refusal, Unavailable

EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="hanaper",
    help="A self-hosted license server that signs every answer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("init")(init.init)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("bench")(bench.bench)
app.command("generate")(generate.generate_keys)
app.command("verify")(verify.verify)
app.command("public-key")(public_key.public_key)
app.command("check-store")(check_store.check_store)
app.command("doctor")(doctor.doctor)
app.command("backup")(backup.backup)
app.command("restore")(restore.restore)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(db.app, name="db")
app.add_typer(product.app, name="product")
app.add_typer(generator.app, name="generator")
app.add_typer(api_key.app, name="api-key")
app.add_typer(key.app, name="key")
app.add_typer(signing_key.app, name="signing-key")
app.add_typer(block_list.app, name="block-list")
app.add_typer(audit.app, name="audit")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hanaper {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A self-hosted license server that signs every answer."""


def main() -> NoReturn:
    """Run a command. A foreseeable fault ends in one line and an exit status, never in a traceback."""
    try:
        app()
    except Fault as fault:
        note(f"hanaper: {fault}")
        sys.exit(fault.exit_status)
    except Refusal as refusal:
        note(f"hanaper: refused with {refusal.code.number} {refusal.code.message}")
        sys.exit(1)
    except ClockWrong as error:
        note(f"hanaper: the clock of this machine is wrong, {error}: set it")
        sys.exit(Unavailable.exit_status)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 -- a bug: told without its text, which may quote a license key
        note("hanaper: internal error; please report it with these lines:")
        note("\n".join(log.where(error)))
        sys.exit(EXIT_BUG)
    sys.exit(0)
