"""The audit log: rows, the chain that seals them, checkpoints.

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-27
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NOW = {"sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')", "postgresql": "now()"}


def upgrade() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("api_key_id", BIG_ID, nullable=True),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("objects", sa.Text(), nullable=False),
        sa.Column("batch_id", BIG_ID, nullable=True),
        sa.Column("license_digest", sa.LargeBinary(), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.CheckConstraint("length(address) BETWEEN 0 AND 64", name=op.f("ck_audit_events_address_length")),
        sa.CheckConstraint("length(action) BETWEEN 1 AND 64", name=op.f("ck_audit_events_action_length")),
        sa.CheckConstraint("length(objects) BETWEEN 2 AND 4096", name=op.f("ck_audit_events_objects_length")),
        sa.CheckConstraint("length(request_id) BETWEEN 0 AND 32", name=op.f("ck_audit_events_request_id_length")),
        sa.CheckConstraint("length(license_digest) = 32", name=op.f("ck_audit_events_license_digest")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_links",
        sa.Column("event_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_audit_links")),
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("number", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("event_id", BIG_ID, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
        sa.Column("kid", sa.String(length=16), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_checkpoints")),
    )
    # From here on each batch has its row; `hanaper check-store` demands it. Sealed like any other.
    last_batch = (
        "(SELECT coalesce(max(id), 0) FROM (SELECT id FROM batches UNION ALL SELECT batch_id FROM staged_batches) AS b)"
    )
    op.execute(
        "INSERT INTO audit_events (at, address, action, objects, request_id) SELECT "
        f"{NOW[op.get_bind().dialect.name]}, '', 'audit begins', "
        f"'{{\"last_batch\":' || {last_batch} || '}}', ''"
    )


def downgrade() -> None:
    op.drop_table("audit_checkpoints")
    op.drop_table("audit_links")
    op.drop_table("audit_events")
