"""A server on PostgreSQL needs no right to change the schema: docs/running.md says how to give it none."""

import re
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import errors, sql
from sqlalchemy import make_url
from tests.support.load import SAMPLE_KEY
from tests.support.processes import Hanaper

PAGE = Path(__file__).parents[2] / "docs" / "running.md"
ROLE = "hanaper_server"
ORDER = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 2}


def documented() -> str:
    """The statements that the page gives."""
    found = re.search(r"```sql\n(CREATE ROLE hanaper_server .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def restricted(demo_on_either: Hanaper) -> Hanaper:
    """The command as the role that the page makes."""
    url = make_url(demo_on_either.environment["HANAPER_DATABASE_URL"])
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(ROLE)))
        owner = connection.execute("SELECT current_user").fetchone()
        assert owner is not None
        statements = documented().split(";\n")[1:]
        for statement in statements:
            if statement.strip():
                connection.execute(statement.replace("FOR ROLE hanaper ", f'FOR ROLE "{owner[0]}" ').encode())
    as_role = url.set(username=ROLE, password=None).render_as_string(hide_password=False)
    environment = {**demo_on_either.environment, "HANAPER_DATABASE_URL": as_role}
    return Hanaper(demo_on_either.forks, demo_on_either.folder, environment)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_the_server_works_and_cannot_change_the_schema(restricted: Hanaper, demo_on_either: Hanaper) -> None:
    with restricted.serving("--workers", "2") as server:
        server.wait_for_workers(2)
        with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
            made = client.post("/api/v1/generate", data=ORDER, headers={"Idempotency-Key": "a"}).json()["response"]
            fields = {"api_key": SAMPLE_KEY, "license_key": made["licenseKeys"][0], "identifier": "a", "email": "a@b.c"}
            codes = [
                client.post(f"/api/v1/{endpoint}", data=fields).json()["response"]["code"]
                for endpoint in ("assign-license-key", "activate", "verify", "deactivate", "delete-license-key")
            ]
            assert client.get("/readyz").status_code == 200
        assert server.stop() == 0
    assert (made["code"], codes) == (815, [800, 300, 200, "400", 850])
    assert restricted("check-store", "--json").json["findings"] == []
    restricted("audit", "seal")
    assert restricted("audit", "verify", "--json").json["findings"] == []
    # What the owner makes later is open to it, too; making something itself is not.
    url = demo_on_either.environment["HANAPER_DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE of_a_later_version (id integer)")
    with psycopg.connect(restricted.environment["HANAPER_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("SELECT * FROM of_a_later_version")
        for statement in (
            "CREATE TABLE another (id integer)", "DROP TABLE license_keys", "TRUNCATE license_keys",
            "ALTER TABLE license_keys DISABLE TRIGGER ALL", "ALTER TABLE products ADD COLUMN x integer",
            "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "DELETE FROM alembic_version",
            "DELETE FROM audit_events", "UPDATE audit_events SET code = 200", "DELETE FROM audit_checkpoints",
        ):  # fmt: skip
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement.encode())
