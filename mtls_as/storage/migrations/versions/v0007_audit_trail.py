"""The audit trail, and the sealed ends of its chain."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
oldest_program = "0006"

_NO_HASH = bytes(32)


def upgrade() -> None:
    """Make the tables, and the one row that every writer locks."""
    op.create_table(
        "audit_records",
        sa.Column("sequence", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("client_id", sa.String(256), nullable=True),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_records")),
    )
    op.create_index("ix_audit_records_at", "audit_records", ["at"])
    op.create_index("ix_audit_records_client_id_sequence", "audit_records", ["client_id", "sequence"])
    ends = op.create_table(
        "audit_ends",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("head_sequence", sa.BigInteger, nullable=False),
        sa.Column("head_hash", sa.LargeBinary, nullable=False),
        sa.Column("head_seal", sa.LargeBinary, nullable=False),
        sa.Column("anchor_sequence", sa.BigInteger, nullable=False),
        sa.Column("anchor_hash", sa.LargeBinary, nullable=False),
        sa.Column("anchor_seal", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_ends_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_ends")),
    )
    empty = {"sequence": 0, "hash": _NO_HASH, "seal": b""}
    row = {f"{end}_{member}": value for end in ("head", "anchor") for member, value in empty.items()}
    op.bulk_insert(ends, [{"id": 1, **row}])


def downgrade() -> None:
    """Drop the trail: whoever needs it has copied it before."""
    op.drop_table("audit_ends")
    op.drop_table("audit_records")
