"""Initial access tokens, and clients that registered themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "initial_access_tokens",
        sa.Column("digest", sa.String(43), nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("uses_left", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_initial_access_tokens")),
    )
    op.create_index("ix_initial_access_tokens_expires_at", "initial_access_tokens", ["expires_at"])
    op.create_table(
        "registrations",
        sa.Column("client_id", sa.String(256), nullable=False),
        sa.Column("access_token_digest", sa.String(43), nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("registered_at", sa.Double, nullable=False),
        sa.Column("certificate_thumbprint", sa.String(43), nullable=True),
        sa.Column("software_statement", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_registrations")),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.client_id"], name=op.f("fk_registrations_client_id_clients"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_registrations_certificate_thumbprint", "registrations", ["certificate_thumbprint"])


def downgrade() -> None:
    """Drop the tables: the clients stay, and only the operator can change them."""
    op.drop_table("registrations")
    op.drop_table("initial_access_tokens")
