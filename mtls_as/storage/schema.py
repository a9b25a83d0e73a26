"""The tables as they are now. `migrations/` leads there; a test holds both equal.

Types and statements are those that SQLite and PostgreSQL share. Times are seconds since the epoch.
"""

from typing import Final

from sqlalchemy import Boolean, CheckConstraint, Column, Double, Integer, LargeBinary, MetaData, String, Table, Text

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

clients: Final = Table(
    "clients",
    metadata,
    Column("client_id", String(256), primary_key=True),
    Column("registration", Text, nullable=False),  # JSON: the members of mtls_as.server.clients, without `enabled`
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

signing_keys: Final = Table(
    "signing_keys",
    metadata,
    Column("kid", String(256), primary_key=True),
    Column("algorithm", String(16), nullable=False),
    Column("encrypted_private_key", LargeBinary, nullable=False),  # mtls_as.storage.encryption
    Column("created_at", Double, nullable=False),
    Column("activates_at", Double, nullable=False),
    Column("expires_at", Double, nullable=True),
)

revision: Final = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", Integer, nullable=False),  # how many times anything was written
    CheckConstraint("id = 1", name="one_row"),
)
