"""Idempotency records, caps of generators, quarantine.

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-25
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
# What a change of draws a new configuration version (decision 0007). That a generator counts on draws none: it happens
# in every request that is counted.
CONFIGURES = {"generator_caps": ("INSERT", "UPDATE OF cap", "DELETE"), "quarantine": ("INSERT", "UPDATE", "DELETE")}


def upgrade() -> None:
    op.create_table(
        "idempotency_records",
        sa.Column("scope", sa.LargeBinary(), nullable=False),
        sa.Column("api_key_id", BIG_ID, nullable=False),
        sa.Column("endpoint", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("signing_key_id", BIG_ID, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("length(scope) = 32", name=op.f("ck_idempotency_records_scope")),
        sa.CheckConstraint("length(fingerprint) = 32", name=op.f("ck_idempotency_records_fingerprint")),
        sa.CheckConstraint("length(endpoint) BETWEEN 1 AND 64", name=op.f("ck_idempotency_records_endpoint_length")),
        sa.CheckConstraint(
            "length(request_id) BETWEEN 1 AND 32", name=op.f("ck_idempotency_records_request_id_length")
        ),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_idempotency_records")),
    )
    op.create_index("ix_idempotency_records_created_at", "idempotency_records", ["created_at"])
    op.create_table(
        "generator_caps",
        sa.Column("generator_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("cap", sa.BigInteger(), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("cap >= 0", name=op.f("ck_generator_caps_cap")),
        sa.CheckConstraint("issued >= 0 AND issued <= cap", name=op.f("ck_generator_caps_issued")),
        sa.ForeignKeyConstraint(
            ["generator_id"], ["generators.id"], name=op.f("fk_generator_caps_generator_id_generators")
        ),
        sa.PrimaryKeyConstraint("generator_id", name=op.f("pk_generator_caps")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_quarantine_one_row")),
        sa.CheckConstraint("length(reason) BETWEEN 1 AND 255", name=op.f("ck_quarantine_reason_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
    )
    if op.get_bind().dialect.name == "sqlite":
        for table, events in CONFIGURES.items():
            for event in events:
                op.execute(
                    f"CREATE TRIGGER {table}_{event.split()[0].lower()}_configures AFTER {event} ON {table} "
                    "BEGIN UPDATE configuration_version SET version = random(); END"
                )
        return
    # The bytes are base64 for the larger part: trying to compress them costs time and gains little.
    op.execute("ALTER TABLE idempotency_records ALTER COLUMN body SET STORAGE EXTERNAL")
    for table, events in CONFIGURES.items():
        op.execute(
            f"CREATE TRIGGER {table}_configures AFTER {' OR '.join(events)} OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION draw_configuration_version()"
        )


def downgrade() -> None:
    op.drop_table("quarantine")
    op.drop_table("generator_caps")
    op.drop_table("idempotency_records")
