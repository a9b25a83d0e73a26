"""Revisions of 64 bits: PostgreSQL's smaller integers end after two billion changes."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
oldest_program = "0006"

_COLUMNS = (("revision", "value"), ("changes", "revision"), ("revocations", "revision"))


def upgrade() -> None:
    """Widen the columns; the numbers stay."""
    for table, column in _COLUMNS:
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False)


def downgrade() -> None:
    """Narrow them again: numbers that have grown beyond stop it, and nothing is changed then."""
    for table, column in _COLUMNS:
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, existing_type=sa.BigInteger(), type_=sa.Integer(), existing_nullable=False)
