"""Blocks of indices into token status lists, and the tokens that have them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
oldest_program = "0006"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "status_blocks",
        sa.Column("number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("leased_at", sa.Double, nullable=False),
        sa.Column("used", sa.Integer, nullable=True),
        sa.Column("ends_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_status_blocks")),
    )
    op.create_index("ix_status_blocks_ends_at", "status_blocks", ["ends_at"])
    op.create_table(
        "status_records",
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("first", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("records", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("block", "first", name=op.f("pk_status_records")),
        sa.ForeignKeyConstraint(
            ["block"],
            ["status_blocks.number"],
            name=op.f("fk_status_records_block_status_blocks"),
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    """Drop the tables: no list says anything any more, and resource servers refuse the tokens that name one."""
    op.drop_table("status_records")
    op.drop_table("status_blocks")
