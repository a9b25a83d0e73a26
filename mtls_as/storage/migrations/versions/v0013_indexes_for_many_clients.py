"""Indexes for what would read every client: those with certificates of their own, and renewals of certificates."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
oldest_program = "0006"

_HAS_CERTIFICATE = sa.text("""registration LIKE '%"x5c"%'""")


def upgrade() -> None:
    """Make them; the new one of renewals does what the one that it replaces did."""
    op.create_index(
        "ix_clients_with_certificates",
        "clients",
        ["client_id"],
        sqlite_where=_HAS_CERTIFICATE,
        postgresql_where=_HAS_CERTIFICATE,
    )
    op.create_index("ix_seen_certificates_client_id_first_used_at", "seen_certificates", ["client_id", "first_used_at"])
    op.drop_index("ix_seen_certificates_client_id", "seen_certificates")


def downgrade() -> None:
    """Without them everything is found as well, and later."""
    op.create_index("ix_seen_certificates_client_id", "seen_certificates", ["client_id"])
    op.drop_index("ix_seen_certificates_client_id_first_used_at", "seen_certificates")
    op.drop_index("ix_clients_with_certificates", "clients")
