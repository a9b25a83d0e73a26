"""The tables as they are now. `migrations/` leads there; a test holds both equal.

Types and statements are those that SQLite and PostgreSQL share. Times are seconds since the epoch.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

HAS_CERTIFICATE: Final = text("""registration LIKE '%"x5c"%'""")
"""Of a client: in these very words, in which databases see that the index of such clients is meant."""

clients: Final = Table(
    "clients",
    metadata,
    Column("client_id", String(256), primary_key=True),
    Column("registration", Text, nullable=False),  # JSON: the members of mtls_as.server.clients, without `enabled`
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    # On PostgreSQL too; but to say so here would load that dialect, 3 MiB, into every worker.
    Index("ix_clients_with_certificates", "client_id", sqlite_where=HAS_CERTIFICATE),
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

seen_certificates: Final = Table(
    "seen_certificates",
    metadata,
    Column("x5t_s256", String(43), primary_key=True),
    Column("client_id", String(256), primary_key=True),  # as it was named then: it may be deleted by now
    Column("authentication_method", String(64), nullable=False),
    Column("trust", String(264), nullable=True),  # the longest is a SPIFFE trust domain, with spiffe://
    Column("subject", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("serial_number", String(64), nullable=False),
    Column("not_after", Double, nullable=False),
    Column("first_used_at", Double, nullable=False),
    Column("last_used_at", Double, nullable=False),
    Column("count", BigInteger, nullable=False),
    Index("ix_seen_certificates_client_id_first_used_at", "client_id", "first_used_at"),
    Index("ix_seen_certificates_last_used_at", "last_used_at"),
)

revocations: Final = Table(
    "revocations",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("value", String(256), primary_key=True),  # mtls_as.server.revocation says of what
    Column("issued_before", Double, nullable=False),
    Column("ends_at", Double, nullable=False),
    Column("revision", BigInteger, nullable=False),  # at which it was written
    Index("ix_revocations_revision", "revision"),
    Index("ix_revocations_ends_at", "ends_at"),
)

accepted_paths: Final = Table(
    "accepted_paths",
    metadata,
    Column("trust", String(64), primary_key=True),
    Column("x5t_s256", String(43), primary_key=True),
    Column("path", LargeBinary, nullable=False),  # certificates, DER, leaf first
    Column("last_used_at", Double, nullable=False),
    Column("stored_at", Double, nullable=False),
    Index("ix_accepted_paths_trust_stored_at", "trust", "stored_at"),
    Index("ix_accepted_paths_stored_at", "stored_at"),
)

status_blocks: Final = Table(
    "status_blocks",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("leased_at", Double, nullable=False),
    Column("used", Integer, nullable=True),  # how many indices were given out; null while more may be
    Column("ends_at", Double, nullable=False),  # when its last token ends
    Index("ix_status_blocks_ends_at", "ends_at"),
)

status_records: Final = Table(
    "status_records",
    metadata,
    Column("block", BigInteger, ForeignKey("status_blocks.number", ondelete="CASCADE"), primary_key=True),
    Column("first", Integer, primary_key=True, autoincrement=False),  # the offset of the first token
    Column("records", LargeBinary, nullable=False),  # mtls_as.server.status_block
)

penalties: Final = Table(
    "penalties",
    metadata,
    Column("kind", String(16), primary_key=True),  # mtls_as.server.penalties
    Column("value", String(64), primary_key=True),
    Column("until", Double, nullable=False),
    Index("ix_penalties_until", "until"),
)

opaque_tokens: Final = Table(
    "opaque_tokens",
    metadata,
    Column("token_hash", String(43), primary_key=True),  # SHA-256, base64url
    Column("claims", Text, nullable=False),  # JSON: the claims that a JWT would have
    Column("expires_at", Double, nullable=False),
    Index("ix_opaque_tokens_expires_at", "expires_at"),
)

client_secrets: Final = Table(
    "client_secrets",
    metadata,
    Column("client_id", String(256), ForeignKey("clients.client_id", ondelete="CASCADE"), primary_key=True),
    Column("digest", LargeBinary, primary_key=True),  # mtls_as.server.client_secrets
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=True),
)

used_once: Final = Table(
    "used_once",
    metadata,
    Column("key_hash", String(43), primary_key=True),
    Column("until", Double, nullable=False),
    Index("ix_used_once_until", "until"),
)

initial_access_tokens: Final = Table(
    "initial_access_tokens",
    metadata,
    Column("digest", String(43), primary_key=True),  # SHA-256, base64url
    Column("policy", Text, nullable=False),  # JSON: mtls_as.server.registration_policy
    Column("uses_left", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("ix_initial_access_tokens_expires_at", "expires_at"),
)

registrations: Final = Table(
    "registrations",
    metadata,
    Column("client_id", String(256), ForeignKey("clients.client_id", ondelete="CASCADE"), primary_key=True),
    Column("access_token_digest", String(43), nullable=False),
    Column("policy", Text, nullable=False),
    Column("registered_at", Double, nullable=False),
    Column("certificate_thumbprint", String(43), nullable=True),
    Column("software_statement", Text, nullable=True),
    Index("ix_registrations_certificate_thumbprint", "certificate_thumbprint"),
)

revision: Final = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),  # how many times anything was written
    CheckConstraint("id = 1", name="one_row"),
)

changes: Final = Table(
    "changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),  # that the change made
    Column("client_id", String(256), nullable=True),  # whose registration it changed, if anybody's
)

compatibility: Final = Table(
    "compatibility",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("oldest_program", String(32), nullable=False),  # the schema of the oldest program that may use this one
    CheckConstraint("id = 1", name="one_row"),
)

audit_records: Final = Table(
    "audit_records",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("client_id", String(256), nullable=True),
    Column("record", Text, nullable=False),  # JSON
    Column("hash", LargeBinary, nullable=False),  # mtls_as.server.audit
    Column("seal", LargeBinary, nullable=False),
    Index("ix_audit_records_at", "at"),
    Index("ix_audit_records_client_id_sequence", "client_id", "sequence"),
)

audit_ends: Final = Table(
    "audit_ends",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("head_sequence", BigInteger, nullable=False),
    Column("head_hash", LargeBinary, nullable=False),
    Column("head_seal", LargeBinary, nullable=False),
    Column("anchor_sequence", BigInteger, nullable=False),
    Column("anchor_hash", LargeBinary, nullable=False),
    Column("anchor_seal", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
