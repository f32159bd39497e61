"""Configuration version, staged batches, and no row that all requests touch.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-25
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
CONFIGURED = ("api_keys", "block_list", "products", "generators", "signing_keys")
EVENTS = ("INSERT", "UPDATE", "DELETE")
# Foreign keys of the rows that every request makes. Checking one locks the row it points to, in every request the same;
# and nothing they point to is ever deleted (decision 0007).
FOREIGN_KEYS = (
    ("license_keys", "product_id", "products"),
    ("batches", "api_key_id", "api_keys"),
    ("batches", "generator_id", "generators"),
    ("batches", "product_id", "products"),
    ("batches", "signing_key_id", "signing_keys"),
)
ID_BLOCKS = (("license_keys", 1000), ("batches", 100))


def upgrade() -> None:
    op.create_table(
        "configuration_version",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_configuration_version_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_configuration_version")),
    )
    op.execute("INSERT INTO configuration_version (id, version) VALUES (1, 1)")
    op.create_table(
        "staged_batches",
        sa.Column("batch_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("abandoned", sa.Integer(), nullable=False),
        sa.Column("touched_at", MOMENT, nullable=False),
        sa.CheckConstraint("abandoned IN (0, 1)", name=op.f("ck_staged_batches_abandoned")),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_staged_batches")),
    )
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(with_foreign_keys=False)
        for table in CONFIGURED:
            for event in EVENTS:
                op.execute(
                    f"CREATE TRIGGER {table}_{event.lower()}_configures AFTER {event} ON {table} "
                    "BEGIN UPDATE configuration_version SET version = random(); END"
                )
        return
    for table, column, target in FOREIGN_KEYS:
        op.drop_constraint(f"fk_{table}_{column}_{target}", table, type_="foreignkey")
    # A connection takes ids in blocks, so that the sequence is no place where all connections meet.
    for table, block in ID_BLOCKS:
        op.execute(f"ALTER SEQUENCE {table}_id_seq CACHE {block}")
    op.execute(
        "CREATE FUNCTION draw_configuration_version() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE configuration_version SET version = floor((random() - 0.5) * 9e15)::bigint; RETURN NULL; END $$"
    )
    for table in CONFIGURED:
        op.execute(
            f"CREATE TRIGGER {table}_configures AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION draw_configuration_version()"
        )


def downgrade() -> None:
    # What is staged belongs to orders that nobody will finish.
    op.execute("DELETE FROM license_keys WHERE batch_id IN (SELECT batch_id FROM staged_batches)")
    op.drop_table("staged_batches")
    if op.get_bind().dialect.name == "sqlite":
        for table in CONFIGURED:
            for event in EVENTS:
                op.execute(f"DROP TRIGGER {table}_{event.lower()}_configures")
        _rebuild(with_foreign_keys=True)
    else:
        for table in CONFIGURED:
            op.execute(f"DROP TRIGGER {table}_configures ON {table}")
        op.execute("DROP FUNCTION draw_configuration_version()")
        for table, _ in ID_BLOCKS:
            op.execute(f"ALTER SEQUENCE {table}_id_seq CACHE 1")
        for table, column, target in FOREIGN_KEYS:
            op.create_foreign_key(f"fk_{table}_{column}_{target}", table, target, [column], ["id"])
    op.drop_table("configuration_version")


def _rebuild(*, with_foreign_keys: bool) -> None:
    """SQLite cannot alter a constraint: the table is made anew and its rows are copied."""
    connection = op.get_bind()
    # SQLite deletes the rows of a table that is dropped, and with them nothing may be attached any more.
    op.execute("CREATE TEMPORARY TABLE attached AS SELECT * FROM license_key_meta")
    op.execute("DELETE FROM license_key_meta")
    metadata = sa.MetaData()
    for name in ("products", "api_keys", "generators", "signing_keys"):
        sa.Table(name, metadata, sa.Column("id", BIG_ID, primary_key=True))
    for table in (_license_keys(metadata), _batches(metadata)):
        ids = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        last_id = connection.execute(ids, {"name": table.name}).scalar()
        foreign_keys = [(column, target) for name, column, target in FOREIGN_KEYS if name == table.name]
        if with_foreign_keys:
            with op.batch_alter_table(table.name, copy_from=table, recreate="always") as batch:
                for column, target in foreign_keys:
                    batch.create_foreign_key(f"fk_{table.name}_{column}_{target}", target, [column], ["id"])
        else:
            # Made from its description, which has none.
            with op.batch_alter_table(table.name, copy_from=table, recreate="always"):
                pass
        # Ids are never given out twice, also where the newest rows are gone.
        if last_id is not None:
            connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
            restore = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)")
            connection.execute(restore, {"name": table.name, "seq": last_id})
    op.execute("INSERT INTO license_key_meta SELECT * FROM attached")
    op.execute("DROP TABLE temp.attached")


def _license_keys(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "license_keys",
        metadata,
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("product_id", BIG_ID, nullable=False),
        sa.Column("generator_id", BIG_ID, nullable=True),
        sa.Column("batch_id", BIG_ID, nullable=True),
        sa.Column("contract_id", BIG_ID, nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("license_key", sa.String(length=255), nullable=False),
        sa.Column("owner_name", sa.String(length=255), nullable=True),
        sa.Column("owner_email", sa.String(length=255), nullable=True),
        sa.Column("activation_limit", sa.Integer(), nullable=False),
        sa.Column("validity", sa.Integer(), nullable=False),
        sa.Column("assigned_at", MOMENT, nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "source IN ('generator', 'manual', 'contract', 'import')", name=op.f("ck_license_keys_source")
        ),
        sa.CheckConstraint(
            "status IN ('available', 'assigned', 'reserved', 'blocked')", name=op.f("ck_license_keys_status")
        ),
        sa.CheckConstraint("activation_limit >= 0", name=op.f("ck_license_keys_activation_limit")),
        sa.CheckConstraint("length(license_key) BETWEEN 1 AND 255", name=op.f("ck_license_keys_license_key_length")),
        sa.CheckConstraint("length(owner_email) BETWEEN 0 AND 255", name=op.f("ck_license_keys_owner_email_length")),
        sa.CheckConstraint("length(owner_name) BETWEEN 0 AND 255", name=op.f("ck_license_keys_owner_name_length")),
        sa.CheckConstraint("validity >= 0", name=op.f("ck_license_keys_validity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_license_keys")),
        sa.UniqueConstraint("license_key", name=op.f("uq_license_keys_license_key")),
        sa.Index("ix_license_keys_batch_id", "batch_id"),
        sa.Index("ix_license_keys_product_id_status", "product_id", "status"),
        sqlite_autoincrement=True,
    )


def _batches(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "batches",
        metadata,
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("api_key_id", BIG_ID, nullable=True),
        sa.Column("product_id", BIG_ID, nullable=False),
        sa.Column("generator_id", BIG_ID, nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("signing_key_id", BIG_ID, nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("length(request_id) BETWEEN 1 AND 32", name=op.f("ck_batches_request_id_length")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_batches_quantity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.Index("ix_batches_generator_id", "generator_id"),
        sqlite_autoincrement=True,
    )
