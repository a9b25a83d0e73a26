"""Digests of client secrets, and what may be used once."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "client_secrets",
        sa.Column("client_id", sa.String(256), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("client_id", "digest", name=op.f("pk_client_secrets")),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.client_id"], name=op.f("fk_client_secrets_client_id_clients"), ondelete="CASCADE"
        ),
    )
    op.create_table(
        "used_once",
        sa.Column("key_hash", sa.String(43), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_used_once")),
    )
    op.create_index("ix_used_once_until", "used_once", ["until"])


def downgrade() -> None:
    """Drop the tables: secrets end, and what was used in the last minutes could be used again."""
    op.drop_table("used_once")
    op.drop_table("client_secrets")
