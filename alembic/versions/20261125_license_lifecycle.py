"""Activations, reasons of a block, outgoing calls.

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-25
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    # A column is added without copying the table, on both databases.
    op.execute(
        "ALTER TABLE license_keys ADD COLUMN block_reason VARCHAR(16) "
        "CONSTRAINT ck_license_keys_block_reason CHECK (block_reason IN ('suspended', 'revoked'))"
    )
    op.execute("UPDATE license_keys SET block_reason = 'suspended' WHERE status = 'blocked'")
    op.create_index(
        "ix_license_keys_owner_email",
        "license_keys",
        ["owner_email"],
        sqlite_where=sa.text("owner_email IS NOT NULL"),
        postgresql_where=sa.text("owner_email IS NOT NULL"),
    )
    op.create_table(
        "activations",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("license_key_id", BIG_ID, nullable=False),
        sa.Column("identifier", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("post_url", sa.String(length=2048), nullable=False),
        sa.Column("ip", sa.String(length=45), nullable=False),
        sa.Column("user_agent", sa.String(length=255), nullable=False),
        sa.Column("activated_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_activations_status")),
        sa.CheckConstraint("length(identifier) BETWEEN 1 AND 255", name=op.f("ck_activations_identifier_length")),
        sa.CheckConstraint("length(post_url) BETWEEN 0 AND 2048", name=op.f("ck_activations_post_url_length")),
        sa.CheckConstraint("length(user_agent) BETWEEN 0 AND 255", name=op.f("ck_activations_user_agent_length")),
        sa.ForeignKeyConstraint(
            ["license_key_id"], ["license_keys.id"], name=op.f("fk_activations_license_key_id_license_keys")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activations")),
        sa.UniqueConstraint("license_key_id", "identifier", name=op.f("uq_activations_license_key_id_identifier")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "outgoing_calls",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=255), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'done', 'failed')", name=op.f("ck_outgoing_calls_state")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_outgoing_calls_attempts")),
        sa.CheckConstraint("length(url) BETWEEN 1 AND 2048", name=op.f("ck_outgoing_calls_url_length")),
        sa.CheckConstraint("length(outcome) BETWEEN 0 AND 255", name=op.f("ck_outgoing_calls_outcome_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outgoing_calls")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outgoing_calls_state_due_at", "outgoing_calls", ["state", "due_at"])


def downgrade() -> None:
    op.drop_table("outgoing_calls")
    op.drop_table("activations")
    op.drop_index("ix_license_keys_owner_email", "license_keys")
    op.execute("ALTER TABLE license_keys DROP COLUMN block_reason")
