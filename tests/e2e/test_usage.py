"""What the command says of itself, and what it says to a command line that is wrong."""

import re

import pytest
from tests.support.processes import Hanaper

from hanaper import __version__

COMMANDS = {
    "": "init serve demo bench generate verify public-key check-store doctor backup restore quarantine db product "
    "generator api-key key signing-key block-list audit",
    "db": "upgrade check",
    "product": "add list set delete",
    "generator": "add preview list set-cap enable disable",
    "api-key": "add import list revoke",
    "key": "list new export show assign suspend reinstate renew revoke delete activations deactivate",
    "signing-key": "list announce activate rotate retire rewrap new-kek",
    "block-list": "add list remove",
    "audit": "list verify seal prune",
}
LEAVES = [
    f"{group} {command}".strip()
    for group, commands in COMMANDS.items()
    for command in commands.split()
    if command not in COMMANDS
]


def test_the_version_is_the_one_of_the_package(bare: Hanaper) -> None:
    assert bare.anew("--version").stdout == f"hanaper {__version__}\n"


@pytest.mark.parametrize("group", COMMANDS)
def test_the_help_of_a_group_lists_its_commands(bare: Hanaper, group: str) -> None:
    shown = bare(*group.split(), "--help").stdout
    listed = re.findall(r"^│ ([a-z-]+)  ", shown, re.MULTILINE)
    assert [name for name in listed if not name.startswith("--")] == COMMANDS[group].split()


@pytest.mark.parametrize("group", COMMANDS)
def test_a_group_without_a_command_shows_its_help(bare: Hanaper, group: str) -> None:
    shown = bare(*group.split(), status=2)
    assert "Usage:" in shown.stdout + shown.stderr


@pytest.mark.parametrize("command", LEAVES)
def test_every_command_has_help(bare: Hanaper, command: str) -> None:
    shown = bare(*command.split(), "--help").stdout
    assert re.search(rf"Usage: .*hanaper {command}\b", shown)
    assert "--help" in shown


@pytest.mark.parametrize("command", ["", "init", "serve", "generate", "key export", "api-key revoke"])
def test_an_unknown_option_is_a_wrong_command_line(bare: Hanaper, command: str) -> None:
    ended = bare(*command.split(), "--no-such-option", status=2)
    assert ended.stdout == ""
    assert "--no-such-option" in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "no-such-command",
        "product no-such-command",
        "product add",
        "product add Name --rsa-bits 1024",
        "generator add",
        "generator add --product 1 --method no-such-method",
        "generator add --product 1 --chunks many",
        "generator preview --quantity 0",
        "generator preview --quantity 101",
        "generate",
        "generate --generator 1",
        "generate --generator 1 --quantity 0",
        "generate --generator 1 --quantity 1 --format xml",
        "generate --generator 1 --quantity 1 --validity -1",
        "generate --generator 1 --quantity 1 --validity 1000001",
        "generate --generator 1 --quantity 1 --activation-limit 2147483648",
        "api-key add Name --expires tomorrow",
        "api-key revoke one",
        "api-key revoke 9223372036854775808",
        "block-list remove 9223372036854775808",
        "key list --status sold",
        "key list --limit 10001",
        "key export --format xml",
        "verify",
        "verify answer.json",
        "serve --port 65536",
        "serve --workers 0",
    ],
)
def test_an_argument_out_of_range_is_a_wrong_command_line(bare: Hanaper, arguments: str) -> None:
    ended = bare(*arguments.split(), status=2)
    assert ended.stdout == ""
    assert "Usage:" in ended.stderr
    assert list(bare.folder.iterdir()) == []
