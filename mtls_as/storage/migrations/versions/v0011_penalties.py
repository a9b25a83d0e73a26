"""Who failed to authenticate too often."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
oldest_program = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "penalties",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_penalties")),
    )
    op.create_index("ix_penalties_until", "penalties", ["until"])


def downgrade() -> None:
    """Drop the table: every node keeps its own penalties again."""
    op.drop_table("penalties")
