"""Signing keys in a PKCS#11 token.

Revision ID: 0007
Revises: 0006
Create Date: 2026-11-27
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
EVENTS = ("INSERT", "UPDATE", "DELETE")
ONE_PLACE = "(private_ciphertext IS NULL) = (token IS NOT NULL) AND (kek_id IS NULL) = (token IS NOT NULL)"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(with_token=True)
        return
    op.add_column("signing_keys", sa.Column("token", sa.String(length=32), nullable=True))
    op.alter_column("signing_keys", "private_ciphertext", nullable=True)
    op.alter_column("signing_keys", "kek_id", nullable=True)
    op.create_check_constraint(op.f("ck_signing_keys_one_place"), "signing_keys", ONE_PLACE)
    op.create_check_constraint(op.f("ck_signing_keys_token_length"), "signing_keys", "length(token) BETWEEN 1 AND 32")


def downgrade() -> None:
    """Fails, and changes nothing, where a key is in a token: the schema before has no place for it."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(with_token=False)
        return
    op.drop_constraint(op.f("ck_signing_keys_token_length"), "signing_keys", type_="check")
    op.drop_constraint(op.f("ck_signing_keys_one_place"), "signing_keys", type_="check")
    op.alter_column("signing_keys", "kek_id", nullable=False)
    op.alter_column("signing_keys", "private_ciphertext", nullable=False)
    op.drop_column("signing_keys", "token")


def _rebuild(*, with_token: bool) -> None:
    """SQLite cannot alter a column: the table is made anew and its rows are copied. No foreign key points to it."""
    connection = op.get_bind()
    last_id = connection.scalar(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'signing_keys'"))
    op.drop_index("uq_signing_keys_active", "signing_keys")
    op.rename_table("signing_keys", "signing_keys_before")
    columns = [
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("product_id", BIG_ID, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kid", sa.String(length=16), nullable=False),
        sa.Column("algorithm", sa.String(length=16), nullable=False),
        sa.Column("bits", sa.Integer(), nullable=False),
        sa.Column("public_pem", sa.String(length=2048), nullable=False),
        sa.Column("private_ciphertext", sa.LargeBinary(), nullable=with_token),
        sa.Column("kek_id", sa.String(length=16), nullable=with_token),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("retired_at", MOMENT, nullable=True),
    ]
    names = ", ".join(column.name for column in columns)
    constraints: list[sa.Constraint] = [
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'verify_only', 'destroyed')", name=op.f("ck_signing_keys_state")
        ),
        sa.CheckConstraint("bits >= 2048", name=op.f("ck_signing_keys_bits")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_keys")),
        sa.UniqueConstraint("kid", name=op.f("uq_signing_keys_kid")),
    ]
    if with_token:
        columns.append(sa.Column("token", sa.String(length=32), nullable=True))
        constraints.append(sa.CheckConstraint(ONE_PLACE, name=op.f("ck_signing_keys_one_place")))
        constraints.append(
            sa.CheckConstraint("length(token) BETWEEN 1 AND 32", name=op.f("ck_signing_keys_token_length"))
        )
    op.create_table("signing_keys", *columns, *constraints, sqlite_autoincrement=True)
    op.execute(f"INSERT INTO signing_keys ({names}) SELECT {names} FROM signing_keys_before ORDER BY id")
    op.drop_table("signing_keys_before")
    op.create_index(
        "uq_signing_keys_active",
        "signing_keys",
        [sa.text("coalesce(product_id, 0)")],
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
    )
    # The triggers went with the table (decision 0007).
    for event in EVENTS:
        op.execute(
            f"CREATE TRIGGER signing_keys_{event.lower()}_configures AFTER {event} ON signing_keys "
            "BEGIN UPDATE configuration_version SET version = random(); END"
        )
    # Ids are never given out twice, also where the newest rows are gone.
    if last_id is not None:
        op.execute("DELETE FROM sqlite_sequence WHERE name IN ('signing_keys', 'signing_keys_before')")
        restore = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('signing_keys', :seq)")
        connection.execute(restore, {"seq": last_id})
