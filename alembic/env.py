"""Alembic's entry point.

hanaper hands its own connection over (`hanaper db upgrade`). Called by the `alembic` command, which only developers
do (`alembic revision --autogenerate`), it opens the database the settings name.
"""

from alembic import context
from sqlalchemy import Connection

from hanaper.settings import Settings
from hanaper.storage.transactions import Storage
from hanaper.tables import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with Storage.open(Settings()) as storage, storage.engine.begin() as own:
        run(own)
