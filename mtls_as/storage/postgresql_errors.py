"""What PostgreSQL's errors mean (PostgreSQL manual, appendix A), in words for the operator.

The server's own messages are not passed on: they may hold what was to be written.
"""

import ssl
from typing import Final

import asyncpg  # type: ignore[import-untyped] # it comes without types
from sqlalchemy.exc import DBAPIError

from mtls_as.storage.errors import DatabaseConflict, DatabaseUnavailable

_CONFLICTS: Final = {"40001", "40P01"}
_STATES: Final = {
    "08P01": "does not speak the protocol of PostgreSQL",
    "25006": "cannot be written: it is read-only, as a standby is",
    "25P03": "has ended the transaction, in which nothing was done for too long",
    "28000": "does not let this user in; see pg_hba.conf",
    "28P01": "does not let this user in: the password is wrong, or there is none",
    "3D000": "has no database of this name; make it with: createdb",
    "3F000": "has no schema that the user may make tables in",
    "40001": "could not write, since another process wrote the same",
    "40P01": "could not write, since another process wrote the same",
    "42501": "does not let this user do that: permission denied",
    "42P01": "lacks a table of this program",
    "53100": "cannot be written: the disk is full",
    "53200": "is out of memory",
    "53300": "has no connection left: raise max_connections, or lower storage.pool_size",
    "55P03": "is locked by another process",
    "57014": "took longer than storage.statement_timeout",
    "57P01": "is shutting down",
    "57P02": "has crashed, and is starting again",
    "57P03": "is starting up or shutting down",
    "57P05": "has ended the connection, which did nothing for too long",
    "58030": "cannot be read or written: the disk reports an error",
    "XX001": "is damaged",
    "XX002": "is damaged",
}
_CLASSES: Final = {"08": "has ended the connection", "53": "is short of resources", "57": "has ended the connection"}


def explain_error(place: str, error: Exception) -> DatabaseUnavailable:
    """The error to raise for one of SQLAlchemy, of the driver, or of the network."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    original = cause.__cause__ or cause if isinstance(error, DBAPIError) and cause is not None else cause
    state = getattr(original, "sqlstate", None)
    message = f"{place}: {_explain(original, state)}"
    if state in _CONFLICTS or isinstance(original, asyncpg.InvalidCachedStatementError):
        return DatabaseConflict(message)
    return DatabaseUnavailable(message)


def _explain(error: BaseException | None, state: object) -> str:
    if isinstance(state, str):
        known = _STATES.get(state) or _CLASSES.get(state[:2])
        return known or f"the database reports the error {state} ({type(error).__name__})"
    match error:
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is refused: {error.verify_message}"
        case ssl.SSLError():
            return f"there is no TLS connection: {error.reason or 'the handshake failed'}"
        case asyncpg.TargetServerAttributeNotMatched():
            return "none of the servers can be written"
        case ConnectionError() if "rejected SSL upgrade" in str(error):
            return "the server has no TLS, which the URL's sslmode asks for"
        case asyncpg.InterfaceError() if "closed" in str(error):
            return "the connection to the database was lost"
        case asyncpg.InternalClientError():  # the server ended the connection in the midst of an answer
            return "the connection to the database was lost"
        case TimeoutError():
            return "the database does not answer in time"
        case OSError():
            return f"there is no connection to the database: {error.strerror or 'no such host, or nobody listens'}"
        case _:
            return f"the connection to the database failed ({type(error).__name__})"
