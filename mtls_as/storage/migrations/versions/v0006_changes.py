"""Which client each change was of, and the oldest program that may use the schema."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
oldest_program = "0006"


def upgrade() -> None:
    """Make the tables. What was changed before is not known: nodes that come from there read all clients anew."""
    op.create_table(
        "changes",
        sa.Column("revision", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("client_id", sa.String(256), nullable=True),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_changes")),
    )
    compatibility = op.create_table(
        "compatibility",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("oldest_program", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_compatibility")),
        sa.CheckConstraint("id = 1", name=op.f("ck_compatibility_one_row")),
    )
    op.bulk_insert(compatibility, [{"id": 1, "oldest_program": oldest_program}])


def downgrade() -> None:
    """Drop the tables: nodes forget all clients at each change again."""
    op.drop_table("compatibility")
    op.drop_table("changes")
