"""The paths of certificates that may have live tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
oldest_program = "0006"


def upgrade() -> None:
    """Make the table. What was accepted before is not known: its tokens end when its certificate comes again."""
    op.create_table(
        "accepted_paths",
        sa.Column("trust", sa.String(64), nullable=False),
        sa.Column("x5t_s256", sa.String(43), nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("last_used_at", sa.Double, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("trust", "x5t_s256", name=op.f("pk_accepted_paths")),
    )
    op.create_index("ix_accepted_paths_trust_stored_at", "accepted_paths", ["trust", "stored_at"])
    op.create_index("ix_accepted_paths_stored_at", "accepted_paths", ["stored_at"])


def downgrade() -> None:
    """Drop the table: tokens no longer end with their certificates."""
    op.drop_table("accepted_paths")
