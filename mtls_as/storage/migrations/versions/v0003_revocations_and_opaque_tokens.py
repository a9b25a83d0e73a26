"""Revocations of tokens, and opaque tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "revocations",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.String(256), nullable=False),
        sa.Column("issued_before", sa.Double, nullable=False),
        sa.Column("ends_at", sa.Double, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_revocations")),
    )
    op.create_index("ix_revocations_revision", "revocations", ["revision"])
    op.create_index("ix_revocations_ends_at", "revocations", ["ends_at"])
    op.create_table(
        "opaque_tokens",
        sa.Column("token_hash", sa.String(43), nullable=False),
        sa.Column("claims", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_opaque_tokens")),
    )
    op.create_index("ix_opaque_tokens_expires_at", "opaque_tokens", ["expires_at"])


def downgrade() -> None:
    """Drop the tables: opaque tokens end, and revoked tokens of the other form come to life again."""
    op.drop_table("opaque_tokens")
    op.drop_table("revocations")
