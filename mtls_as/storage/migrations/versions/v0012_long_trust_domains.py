"""Room for the names of SPIFFE trust domains: 255 octets, with `spiffe://` before them. PostgreSQL counts."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
oldest_program = "0006"


def upgrade() -> None:
    """Widen the column."""
    with op.batch_alter_table("seen_certificates") as batch:
        batch.alter_column("trust", existing_type=sa.String(64), type_=sa.String(264), existing_nullable=True)


def downgrade() -> None:
    """Narrow it; what has no room is forgotten, and will be seen again."""
    op.execute("DELETE FROM seen_certificates WHERE length(trust) > 64")
    with op.batch_alter_table("seen_certificates") as batch:
        batch.alter_column("trust", existing_type=sa.String(264), type_=sa.String(64), existing_nullable=True)
