"""What has been taken of rate limits.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-27
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "rate_windows",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("second", sa.BigInteger(), nullable=False),
        sa.Column("used", postgresql.ARRAY(sa.Integer()).with_variant(sa.JSON(), "sqlite"), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.CheckConstraint("length(subject) = 17", name=op.f("ck_rate_windows_subject")),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_rate_windows")),
        # Nothing in it is worth a sync of the disk: after a crash it is empty, and all budgets are whole again.
        prefixes=["UNLOGGED"] if on_postgresql else [],
    )


def downgrade() -> None:
    op.drop_table("rate_windows")
