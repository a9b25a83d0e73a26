"""The certificates that authenticated a client, for those who want to know which of them end soon."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; it fills as clients come."""
    op.create_table(
        "seen_certificates",
        sa.Column("x5t_s256", sa.String(43), nullable=False),
        sa.Column("client_id", sa.String(256), nullable=False),
        sa.Column("authentication_method", sa.String(64), nullable=False),
        sa.Column("trust", sa.String(64), nullable=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("serial_number", sa.String(64), nullable=False),
        sa.Column("not_after", sa.Double, nullable=False),
        sa.Column("first_used_at", sa.Double, nullable=False),
        sa.Column("last_used_at", sa.Double, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("x5t_s256", "client_id", name=op.f("pk_seen_certificates")),
    )
    op.create_index("ix_seen_certificates_client_id", "seen_certificates", ["client_id"])
    op.create_index("ix_seen_certificates_last_used_at", "seen_certificates", ["last_used_at"])


def downgrade() -> None:
    """Drop the table: what was seen is forgotten, and will be seen again."""
    op.drop_table("seen_certificates")
