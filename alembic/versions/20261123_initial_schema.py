"""Initial schema.

Revision ID: 0001
Revises: nothing
Create Date: 2026-11-23
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hint", sa.String(length=24), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("abilities", sa.JSON(), nullable=False),
        sa.Column("allowed_networks", sa.JSON(), nullable=False),
        sa.Column("product_ids", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("kind IN ('live', 'test', 'imported', 'demo')", name=op.f("ck_api_keys_kind")),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_api_keys_status")),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 100", name=op.f("ck_api_keys_name_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "block_list",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("kind IN ('address', 'identifier')", name=op.f("ck_block_list_kind")),
        sa.CheckConstraint("length(reason) BETWEEN 0 AND 255", name=op.f("ck_block_list_reason_length")),
        sa.CheckConstraint("length(value) BETWEEN 1 AND 255", name=op.f("ck_block_list_value_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_block_list")),
        sa.UniqueConstraint("kind", "value", name=op.f("uq_block_list_kind_value")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "products",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("slug", sa.String(length=100), nullable=False),
        sa.Column("external_reference", sa.String(length=255), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("post_url", sa.String(length=2048), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("require_non_expired", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.CheckConstraint("source IN ('internal', 'envato')", name=op.f("ck_products_source")),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_products_status")),
        sa.CheckConstraint(
            "length(external_reference) BETWEEN 0 AND 255", name=op.f("ck_products_external_reference_length")
        ),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 255", name=op.f("ck_products_name_length")),
        sa.CheckConstraint("length(post_url) BETWEEN 0 AND 2048", name=op.f("ck_products_post_url_length")),
        sa.CheckConstraint("length(slug) BETWEEN 1 AND 100", name=op.f("ck_products_slug_length")),
        sa.CheckConstraint("require_non_expired IN (0, 1)", name=op.f("ck_products_require_non_expired")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
        sa.UniqueConstraint("slug", name=op.f("uq_products_slug")),
        sa.UniqueConstraint("uuid", name=op.f("uq_products_uuid")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "signing_keys",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("product_id", BIG_ID, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kid", sa.String(length=16), nullable=False),
        sa.Column("algorithm", sa.String(length=16), nullable=False),
        sa.Column("bits", sa.Integer(), nullable=False),
        sa.Column("public_pem", sa.String(length=2048), nullable=False),
        sa.Column("private_ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("kek_id", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("retired_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'verify_only', 'destroyed')", name=op.f("ck_signing_keys_state")
        ),
        sa.CheckConstraint("bits >= 2048", name=op.f("ck_signing_keys_bits")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_keys")),
        sa.UniqueConstraint("kid", name=op.f("uq_signing_keys_kid")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_signing_keys_active",
        "signing_keys",
        [sa.text("coalesce(product_id, 0)")],
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "wrapped_secrets",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("kek_id", sa.String(length=16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_wrapped_secrets")),
    )
    op.create_table(
        "generators",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("product_id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("prefix", sa.String(length=64), nullable=False),
        sa.Column("suffix", sa.String(length=64), nullable=False),
        sa.Column("function_name", sa.String(length=100), nullable=False),
        sa.Column("number_of_chunks", sa.Integer(), nullable=False),
        sa.Column("chunk_length", sa.Integer(), nullable=False),
        sa.Column("charset", sa.String(length=256), nullable=False),
        sa.Column("activation_limit", sa.Integer(), nullable=False),
        sa.Column("validity", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("method IN ('uuid', 'chunk-system', 'custom')", name=op.f("ck_generators_method")),
        sa.CheckConstraint("activation_limit >= 0", name=op.f("ck_generators_activation_limit")),
        sa.CheckConstraint("length(charset) BETWEEN 0 AND 256", name=op.f("ck_generators_charset_length")),
        sa.CheckConstraint("length(function_name) BETWEEN 0 AND 100", name=op.f("ck_generators_function_name_length")),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 100", name=op.f("ck_generators_name_length")),
        sa.CheckConstraint("length(prefix) BETWEEN 0 AND 64", name=op.f("ck_generators_prefix_length")),
        sa.CheckConstraint("length(suffix) BETWEEN 0 AND 64", name=op.f("ck_generators_suffix_length")),
        sa.CheckConstraint("status IN (0, 1)", name=op.f("ck_generators_status")),
        sa.CheckConstraint("validity >= 0", name=op.f("ck_generators_validity")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_generators_product_id_products")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generators")),
        sa.UniqueConstraint("uuid", name=op.f("uq_generators_uuid")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_generators_product_id", "generators", ["product_id"])

    op.create_table(
        "license_keys",
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
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_license_keys_product_id_products")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_license_keys")),
        sa.UniqueConstraint("license_key", name=op.f("uq_license_keys_license_key")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_license_keys_batch_id", "license_keys", ["batch_id"])
    op.create_index("ix_license_keys_product_id_status", "license_keys", ["product_id", "status"])

    op.create_table(
        "product_meta",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("product_id", BIG_ID, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 255", name=op.f("ck_product_meta_key_length")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_product_meta_product_id_products")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product_meta")),
        sa.UniqueConstraint("product_id", "key", name=op.f("uq_product_meta_product_id_key")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "batches",
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
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_batches_api_key_id_api_keys")),
        sa.ForeignKeyConstraint(["generator_id"], ["generators.id"], name=op.f("fk_batches_generator_id_generators")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_batches_product_id_products")),
        sa.ForeignKeyConstraint(
            ["signing_key_id"], ["signing_keys.id"], name=op.f("fk_batches_signing_key_id_signing_keys")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_batches_generator_id", "batches", ["generator_id"])

    op.create_table(
        "license_key_meta",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("license_key_id", BIG_ID, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 255", name=op.f("ck_license_key_meta_key_length")),
        sa.ForeignKeyConstraint(
            ["license_key_id"], ["license_keys.id"], name=op.f("fk_license_key_meta_license_key_id_license_keys")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_license_key_meta")),
        sa.UniqueConstraint("license_key_id", "key", name=op.f("uq_license_key_meta_license_key_id_key")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("license_key_meta")
    op.drop_table("batches")
    op.drop_table("product_meta")
    op.drop_table("license_keys")
    op.drop_table("generators")
    op.drop_table("wrapped_secrets")
    op.drop_table("signing_keys")
    op.drop_table("products")
    op.drop_table("block_list")
    op.drop_table("api_keys")
