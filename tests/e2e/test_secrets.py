"""No secret reaches a log, an error text or a command line, whatever goes wrong (reliability.md T36)."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, text
from tests.e2e.conftest import client
from tests.support.api import Answer, Api
from tests.support.metrics import ADDRESS, scrape
from tests.support.processes import Hanaper, Outcome, clean_environment

from hanaper.keystore import kek_file
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

PASSWORD = "Canary-Password-5309"
PREFIX = "CANARY-PREFIX-"
IDEMPOTENCY_KEYS = ("Canary-Order-0815-4711", "Canary Order 4712, which is none", "Canary-Order-4713-for-another")
IMPORTED = "b6c0f3d2-77aa-4a0e-8c51-0d1be2a6c3f4"
WRONG_UUID = "0a6f5a0e-1c37-4d2b-9a3c-6e0c5f7d8b91"
WRONG_OWN = "hnp_live_" + "Canary7" * 7

# What an error says of the row that it refuses, on both databases.
QUOTE_ROWS = {
    "sqlite": [
        """CREATE TRIGGER quote BEFORE INSERT ON license_keys
           BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed: ' || NEW.license_key); END"""
    ],
    "postgresql": [
        """CREATE FUNCTION quote() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE unique_violation USING MESSAGE = 'duplicate key ' || NEW.license_key; END $$""",
        "CREATE TRIGGER quote BEFORE INSERT ON license_keys FOR EACH ROW EXECUTE FUNCTION quote()",
    ],
}


def forms(secret: bytes) -> set[str]:
    """The forms in which a secret could be written: as it stands, escaped, hex, base64 at any alignment."""
    found = {secret.hex(), repr(secret)[2:-1]}
    for shift in range(3):
        # The first and the last group may share their bits with what stands around them.
        found.add(base64.b64encode(bytes(shift) + secret).decode().rstrip("=")[4:-4])
    if secret.isascii():
        plain = secret.decode()
        found |= {plain, quote(plain, safe=""), json.dumps(plain)[1:-1], plain[:12]}
    return found


class Watch:
    """Knows all secrets of an installation, and everything that anybody said."""

    def __init__(self) -> None:
        self.secrets: dict[str, bytes] = {}
        self.said: dict[str, str] = {}

    def hear(self, what: str, outcome: Outcome) -> Outcome:
        self.said[what] = outcome.stdout + outcome.stderr
        return outcome

    def leaks(self) -> list[tuple[str, str]]:
        return [
            (secret, place)
            for secret, value in self.secrets.items()
            for form in forms(value)
            for place, text_said in self.said.items()
            if form in text_said
        ]


def private_parts(hanaper: Hanaper) -> dict[str, bytes]:
    """The key encryption key, and what it encrypts."""
    file = hanaper.data_dir / "key-encryption-key"
    kek = kek_file.read(file, named_by_setting=False)
    with Storage.open(hanaper.settings) as storage:
        keys = storage.read(lambda session: session.execute(text("SELECT * FROM signing_keys")).all())
        pepper = storage.read(lambda session: session.execute(text("SELECT * FROM wrapped_secrets")).one())
    found = {
        "key encryption key": base64.b64decode(file.read_bytes()),
        "pepper": kek.unwrap(pepper.ciphertext, row=pepper.name),
    }
    for row in keys:
        binding = f"{row.kid}|{row.product_id or 'global'}|{row.version}|{row.algorithm}"
        der = kek.unwrap(row.private_ciphertext, row=binding)
        # The public numbers at its beginning are no secret.
        found[f"private key {row.id}"] = der[-600:-560]
        found[f"end of private key {row.id}"] = der[-40:]
    return found


@pytest.fixture
def hanaper(bare: Hanaper, empty_database_url: str) -> Hanaper:
    """The command in front of an empty database, with a password in the URL where there can be one."""
    url = make_url(empty_database_url)
    if url.get_backend_name() == "postgresql" and not url.password:
        url = url.set(password=PASSWORD)  # the server of the tests trusts everybody
    environment = clean_environment(
        HANAPER_DATABASE_URL=url.render_as_string(hide_password=False),
        HANAPER_DATA_DIR=str(bare.folder / "data"),
        HANAPER_LOG_LEVEL="debug",
    )
    return Hanaper(bare.forks, bare.folder, environment)


class Caller:
    """Asks for things, and keeps what it is told."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.codes: set[int | str] = set()
        self.license_keys: list[str] = []
        self.refusals = ""

    def take(self, answer: Answer) -> None:
        self.codes.add(answer.code)
        if answer.code == 815:
            self.license_keys += answer.payload["licenseKeys"]
        elif answer.code != 820:
            self.refusals += f"{answer.http.text}\n{answer.http.headers}\n"

    def post(self, fields: dict[str, Any], **how: Any) -> None:
        self.take(self.api.post("/api/v1/generate", {"generator_id": 1, "quantity": 2, **fields}, **how))

    def present(self, key: str, *, good: str) -> None:
        """Present an API key in every place and every encoding, and where it does not belong."""
        self.post({"api_key": key})
        self.post({"api_key": key}, encoding="multipart")
        self.post({"api_key": key}, encoding="json")
        self.post({}, headers={"Authorization": f"Bearer {key}"})
        self.post({}, headers={"X-API-Key": key})
        for endpoint in ("get-all-generators", "generate", "no-such-endpoint"):
            self.take(self.api.get(f"/api/v1/{endpoint}", {"api_key": key}))
        self.post({"api_key": good, "generator_id": key})
        self.post({"api_key": good, "generator_id": key, "quantity": key})
        for kind in ("application/json", "multipart/form-data; boundary=b", "text/plain"):
            content = f'{{"api_key": "{key}", '.encode()
            self.take(
                self.api.check(self.api.http.post("/v1/generate", content=content, headers={"Content-Type": kind}))
            )


def provoke_errors_of_the_database(hanaper: Hanaper, caller: Caller, api_key: str, database_kind: str) -> None:
    # A key space of two: the second order collides, and PostgreSQL's error quotes the key.
    hanaper.sql("UPDATE generators SET charset = 'AB', number_of_chunks = 1, chunk_length = 1 WHERE id = 2")
    caller.post({"api_key": api_key, "generator_id": 2})
    assert set(caller.license_keys[-2:]) == {f"{PREFIX}A", f"{PREFIX}B"}
    caller.post({"api_key": api_key, "generator_id": 2})
    # A violation that is no collision, which nobody foresaw: a bug.
    hanaper.sql("UPDATE generators SET charset = 'ABCDEFGH', chunk_length = 32 WHERE id = 2")
    for statement in QUOTE_ROWS[database_kind]:
        hanaper.sql(statement)
    caller.post({"api_key": api_key, "generator_id": 2})
    # And a database that does not answer.
    url = make_url(hanaper.environment["HANAPER_DATABASE_URL"])
    if database_kind == "sqlite":
        hanaper.sql("ALTER TABLE batches RENAME TO gone")
    else:
        elsewhere = url.set(database="postgres").render_as_string(hide_password=False)
        with psycopg.connect(elsewhere, autocommit=True) as connection:
            name = sql.Identifier(url.database or "")
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [url.database]
            )
    caller.post({"api_key": api_key})


def ask_under_keys(caller: Caller, api_key: str) -> None:
    """In the header and in the body; carried out, replayed, refused, and what is no key."""
    good, bad, used = IDEMPOTENCY_KEYS
    for quantity in (1, 1, 2):
        caller.post({"api_key": api_key, "quantity": quantity, "idempotency_key": good})
        caller.post({"api_key": api_key, "quantity": quantity}, headers={"Idempotency-Key": good})
        caller.post({"api_key": api_key, "quantity": quantity}, headers={"Idempotency-Key": bad})
        caller.post({"api_key": api_key, "generator_id": 10**9}, headers={"Idempotency-Key": used})
        caller.post({"api_key": WRONG_OWN}, headers={"Idempotency-Key": used})
    caller.post({"api_key": api_key, "quantity": 1, "idempotency_key": [good]}, encoding="json")
    caller.take(caller.api.get("/api/v1/get-all-generators", {"api_key": api_key, "idempotency_key": good}))


def stored(hanaper: Hanaper) -> str:
    """All that the database holds, as text: the files of SQLite, the rows of PostgreSQL."""
    with Storage.open(hanaper.settings) as storage:
        file = storage.database.file
        if file is not None:
            return "".join(each.read_bytes().decode("latin-1") for each in sorted(file.parent.glob(f"{file.name}*")))
        return storage.read(rows_as_text)


def rows_as_text(session: Session) -> str:
    """Columns of bytes come in hex."""
    tables = session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
    return "\n".join(row for name in tables for row in session.scalars(text(f"SELECT each::text FROM {name} each")))  # noqa: S608 -- names of tables


def test_no_secret_is_said_anywhere_whatever_goes_wrong(hanaper: Hanaper, database_kind: str) -> None:
    watch = Watch()
    watch.hear("init", hanaper.anew("init", "--demo", "--json"))
    own = hanaper("api-key", "add", "Own", "--json").json["api_key"]
    watch.hear("import", hanaper("api-key", "import", "Imported", stdin=IMPORTED))
    watch.hear("import again", hanaper("api-key", "import", "Imported", stdin=IMPORTED, status=65))
    watch.hear("list", hanaper("api-key", "list", "--json"))
    hanaper("generator", "add", "--product", "1", "--method", "chunk-system", "--prefix", PREFIX)
    at_rest = Watch()
    watch.secrets = private_parts(hanaper)
    for number, idempotency_key in enumerate(IDEMPOTENCY_KEYS):
        watch.secrets[f"idempotency key {number}"] = idempotency_key.encode()
    for name, secret in (("own", own), ("imported", IMPORTED), ("wrong", WRONG_UUID), ("wrong own", WRONG_OWN)):
        watch.secrets[f"{name} API key"] = secret.encode()
    password = make_url(hanaper.environment["HANAPER_DATABASE_URL"]).password
    if password:
        watch.secrets["database password"] = str(password).encode()

    with hanaper.serving(**ADDRESS) as server, client(server.url, hanaper) as api:
        caller = Caller(api)
        for key in (own, IMPORTED, IMPORTED.upper(), WRONG_UUID, WRONG_OWN):
            caller.present(key, good=own)
        caller.post({"api_key": own, "generator_id": 3})
        ask_under_keys(caller, own)
        at_rest.said["database"] = stored(hanaper)
        # What is there in plain is found.
        assert [key for key in caller.license_keys if key not in at_rest.said["database"]] == []
        provoke_errors_of_the_database(hanaper, caller, own, database_kind)
        for file in Path("/proc").glob(f"{server.process.pid}/cmdline"):
            watch.said["command line"] = file.read_text()
        watch.said["metrics"] = scrape(server).text
        assert server.stop() == 0

    assert caller.codes >= {815, 820, 100, 806, 901, 902, 1700, 1701, 1703, 1704, 1705, 1706}
    # License keys lie there in plain; nothing else of what has been said does.
    at_rest.secrets = dict(watch.secrets)
    watch.secrets["prefix of license keys"] = PREFIX.encode()
    for license_key in caller.license_keys:
        watch.secrets[f"license key {license_key}"] = license_key.encode()
    watch.said["log"] = server.log
    watch.said["refusals"] = caller.refusals
    assert {json.loads(line)["level"] for line in server.lines} >= {"info", "warning", "error"}
    assert server.events("internal error")
    assert server.events("unavailable")
    assert "hanaper_answers_total" in watch.said["metrics"]
    assert watch.leaks() == []
    assert at_rest.leaks() == []


def test_a_bug_in_a_command_is_told_without_the_text_of_the_error(demo: Hanaper) -> None:
    demo.sql("UPDATE api_keys SET abilities = 'Canary, not JSON'")
    arguments = ("api-key", "list")
    ended = demo.forks.run(arguments, folder=demo.folder, environment=demo.environment, stdin=b"")
    assert (ended.status, ended.stdout) == (70, "")
    first, *where = ended.stderr.splitlines()
    assert first == "hanaper: internal error; please report it with these lines:"
    assert "json.decoder.JSONDecodeError" in where
    assert "Canary" not in ended.stderr


def test_the_watch_would_notice() -> None:
    watch = Watch()
    watch.secrets = {"key": b"Canary/Secret+With=Marks", "bytes": bytes(range(200, 240))}
    for said in (
        "Canary/Secret+With=Marks",
        "Canary%2FSecret%2BWith%3DMarks",
        base64.b64encode(b"xCanary/Secret+With=Marks!").decode(),
        base64.b64encode(b"xy" + bytes(range(200, 240))).decode(),
        bytes(range(200, 240)).hex(),
        repr(b"x" + bytes(range(200, 240))),
    ):
        watch.said = {"place": f'{{"event": "{said}"}}'}
        assert watch.leaks(), said
    watch.said = {"place": "nothing"}
    assert watch.leaks() == []
