"""Every command that changes something has its row of the audit log, and every other one a reason to have none."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from tests.e2e.test_signing_keys import active, keks, listed, within
from tests.support.processes import Hanaper

from hanaper.audit.store import BEGINS
from hanaper.cli.main import app
from hanaper.storage import migrate
from hanaper.storage.schema import head, revisions
from hanaper.storage.transactions import Storage

OLDER = revisions()[-2]
LONG_AGO = "2020-02-03 04:05:06.000000"
LICENSE_KEY = "Some-License-Key"
IMPORTED = "11111111-2222-4333-8444-555555555555"
ACTIVATION = (
    "INSERT INTO activations (license_key_id, identifier, status, post_url, ip, user_agent, activated_at, created_at, "
    "updated_at) SELECT id, 'host', 'active', '', '', '', :at, :at, :at FROM license_keys WHERE license_key = :text"
)

# In this order; what stands in braces is known once it has come so far, see `Operator`.
CHANGING = [
    ("init", "init"),
    ("init --demo", "init --demo"),
    ("product add Another", "product add"),
    ("product set another --name More", "product set"),
    ("product delete another --yes", "product delete"),
    ("generator add --product demo", "generator add"),
    ("generator set-cap 2 5", "generator set-cap"),
    ("generator disable 2", "generator disable"),
    ("generator enable 2", "generator enable"),
    ("generate --generator 1 --quantity 1", "generate"),
    ("api-key add shop", "api-key add"),
    ("api-key import old --file {imported}", "api-key import"),
    ("api-key revoke 2", "api-key revoke"),
    ("block-list add --address 192.0.2.1", "block-list add"),
    ("block-list remove 1", "block-list remove"),
    ("key new --product demo --stdin", "key new"),
    ("key assign -", "key assign"),
    ("key suspend -", "key suspend"),
    ("key reinstate -", "key reinstate"),
    ("key renew - --days 3", "key renew"),
    ("key deactivate - --identifier host", "key deactivate"),
    ("key revoke - --yes", "key revoke"),
    ("key delete - --yes", "key delete"),
    ("signing-key announce --product demo", "signing-key announce"),
    ("signing-key activate {announced} --yes", "signing-key activate"),
    ("signing-key retire {retired} --yes --early", "signing-key retire"),
    ("signing-key rotate --yes", "signing-key rotate"),
    ("signing-key rewrap", "signing-key rewrap"),
    ("quarantine on --reason test", "quarantine on"),
    ("quarantine off --yes", "quarantine off"),
    ("db upgrade", "db upgrade"),
    ("audit prune --before 2026-01-01 --yes", "audit prune"),
    ("restore {backup} --data-dir {elsewhere}", "restore"),
]

ONLY_READS = "reads, and changes nothing"
WITHOUT = {
    "serve": "each request has its row; with --migrate there is one for the upgrade, see below",
    "demo": "has an installation of its own, which it throws away",
    "bench": "as demo",
    "backup": f"{ONLY_READS} but a new file",
    "key export": f"{ONLY_READS} but a new file",
    "signing-key new-kek": "makes a file, which no database knows of yet",
    "audit seal": "a row for it would have to be sealed again; the checkpoint is what remains of it",
    **dict.fromkeys(
        (
            *("verify", "public-key", "check-store", "doctor", "quarantine", "db check", "product list"),
            *("generator list", "generator preview", "api-key list", "key list", "key show", "key activations"),
            *("signing-key list", "block-list list", "audit list", "audit verify"),
        ),
        ONLY_READS,
    ),
}


def commands() -> Iterator[str]:
    """All there are, as they are typed."""

    def below(command: object, name: str) -> Iterator[str]:
        if not isinstance(command, typer.core.TyperGroup):
            yield name
            return
        if name and command.invoke_without_command:
            yield name
        for each, leaf in command.commands.items():
            yield from below(leaf, f"{name} {each}".strip())

    return below(typer.main.get_command(app), "")


def rows(hanaper: Hanaper, *arguments: str) -> list[dict[str, object]]:
    """Oldest first."""
    found: list[dict[str, object]] = hanaper("audit", "list", "--json", "--limit", "1000", *arguments).json
    return found[::-1]


def is_run_by(command: str, line: str) -> bool:
    return line == command or line.startswith(f"{command} ")


def test_every_command_has_a_row_or_a_reason() -> None:
    changing = {command for command in commands() if any(is_run_by(command, line) for line, _ in CHANGING)}
    # `quarantine` alone shows it.
    assert changing - {"quarantine"} | set(WITHOUT) == set(commands())
    assert not (changing - {"quarantine"}) & set(WITHOUT)


class Operator:
    """Runs one command after the other, and what they need beside them."""

    def __init__(self, bare: Hanaper, folder: Path) -> None:
        self.hanaper = within(bare, {"HANAPER_DATA_DIR": str(folder / "data")})
        self.kek, self.new_kek = self.hanaper.settings.key_encryption_key, folder / "new-kek"
        self.known = {name: str(folder / name) for name in ("backup", "elsewhere", "imported")}
        self.seen: list[object] = []
        Path(self.known["imported"]).write_text(IMPORTED)

    def key_deactivate(self) -> None:
        self.hanaper.sql(ACTIVATION, at=LONG_AGO, text=LICENSE_KEY)

    def signing_key_announce(self) -> None:
        self.known["retired"] = active(self.hanaper, 1)

    def signing_key_activate(self) -> None:
        (self.known["announced"],) = (kid for kid, row in listed(self.hanaper).items() if row["state"] == "pending")

    def signing_key_rewrap(self) -> None:
        self.hanaper("signing-key", "new-kek", str(self.new_kek))

    def db_upgrade(self) -> None:
        with Storage.open(self.hanaper.settings) as storage:
            migrate.downgrade(storage, OLDER)

    def audit_prune(self) -> None:
        self.look()
        self.hanaper.sql("UPDATE audit_events SET at = :at", at=LONG_AGO)
        self.hanaper("audit", "seal")

    def restore(self) -> None:
        self.hanaper("backup", self.known["backup"])
        Path(self.known["elsewhere"]).mkdir()
        shutil.copy(self.kek, self.known["elsewhere"])

    def run(self, line: str) -> None:
        words = line.split()
        for name in ("_".join(words[:2]), words[0]):
            getattr(self, name.replace("-", "_"), lambda: None)()
        rewraps = line == "signing-key rewrap"
        hanaper = within(self.hanaper, keks(self.new_kek, self.kek)) if rewraps else self.hanaper
        hanaper(*(word.format(**self.known) for word in words), stdin=LICENSE_KEY)
        if rewraps:
            self.new_kek.replace(self.kek)

    def look(self, *arguments: str) -> None:
        self.seen += [row["action"] for row in rows(self.hanaper, *arguments)]


@pytest.mark.long
def test_each_of_them_writes_its_row(bare: Hanaper, tmp_path: Path) -> None:
    operator = Operator(bare, tmp_path)
    for line, _ in CHANGING:
        operator.run(line)
    # What was there before is pruned by then, and in the backup neither.
    operator.look("--data-dir", operator.known["elsewhere"])
    assert operator.seen == [BEGINS, *(action for _, action in CHANGING)]
    operator.hanaper("audit", "seal")
    assert operator.hanaper("audit", "verify", "--json").json["unsealed_since"] is None
    operator.hanaper("check-store")


@pytest.mark.long
def test_a_server_that_upgrades_writes_a_row(demo: Hanaper) -> None:
    with Storage.open(demo.settings) as storage:
        migrate.downgrade(storage, OLDER)
    for _ in range(2):
        with demo.serving("--migrate") as server:
            server.wait_for("serving")
    (row,) = rows(demo, "--action", "serve --migrate")
    assert row["objects"] == {"schema": head(), "schema_before": OLDER}


def test_an_upgrade_of_what_is_up_to_date_writes_none(demo_on_either: Hanaper) -> None:
    before = rows(demo_on_either)
    demo_on_either("db", "upgrade")
    assert rows(demo_on_either) == before
