"""The URL of a PostgreSQL database, in the form of libpq (PostgreSQL manual, "Connection URIs"), read strictly.

`postgresql://user:password@host:port,host:port/database?sslmode=…`. Without `sslmode` a server that is not on this
machine must prove its name by a certificate. `prefer` and `allow`, which go on without TLS where an attacker wants it,
are refused.
"""

import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

PREFIX: Final = "postgresql://"
DEFAULT_PORT: Final = 5432
TLS_MODES: Final = ("disable", "require", "verify-ca", "verify-full")

_PATHS: Final = ("sslrootcert", "sslcert", "sslkey")
_OPTIONS: Final = ("sslmode", "host", "port", "target_session_attrs", *_PATHS)
_SESSIONS: Final = ("any", "primary", "read-write")


class PostgreSQLURLError(ValueError):
    """The text is no such URL; the message does not quote it, since it may hold a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgreSQLAddress:
    """Where a database is, and as whom and how to connect."""

    hosts: tuple[tuple[str, int], ...]
    """Names or addresses, or folders of unix sockets, each with a port; tried in this order."""
    user: str
    password: str | None = field(repr=False)
    database: str
    tls_mode: str
    """One of `TLS_MODES`."""
    root_certificates: Path | None
    """The CAs of the servers; None for those of the system."""
    certificate: Path | None
    private_key: Path | None
    session: str
    """`read-write`, `primary` or `any`: which of the hosts will do."""

    def __str__(self) -> str:
        """For messages: without user and password."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{PREFIX}{hosts}/{self.database}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS to speak, or None for none. Raises `OSError` for files that cannot be used."""
        if self.tls_mode == "disable":
            return None
        context = ssl.create_default_context(cafile=self.root_certificates)
        if self.tls_mode != "verify-full":
            context.check_hostname = False
        if self.tls_mode == "require" and self.root_certificates is None:
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.private_key, password="")  # an encrypted key is an error
        return context


def parse_postgresql_url(text: str) -> PostgreSQLAddress:
    """Raises `PostgreSQLURLError`."""
    if not text.startswith(PREFIX) or not text.isprintable() or "#" in text or " " in text:
        raise PostgreSQLURLError("must be postgresql://USER@HOST/DATABASE")
    place, _, query = text.removeprefix(PREFIX).partition("?")
    authority, _, path = place.partition("/")
    credentials, _, written_hosts = authority.rpartition("@")
    user, has_password, password = credentials.partition(":")
    options = _options(query)
    hosts = _hosts(written_hosts, options)
    database = unquote(path)
    if not all(unquote(part).isprintable() for part in (place, query)):
        raise PostgreSQLURLError("must not have control characters")
    if not user or not database or "/" in path:
        raise PostgreSQLURLError("must name a user and a database: postgresql://USER@HOST/DATABASE")
    mode = options.get("sslmode", "disable" if all(_is_here(host) for host, _ in hosts) else "verify-full")
    if mode not in TLS_MODES:
        raise PostgreSQLURLError(f"sslmode must be one of {', '.join(TLS_MODES)}; others go on without TLS")
    session = options.get("target_session_attrs", "read-write" if len(hosts) > 1 else "any")
    if session not in _SESSIONS:
        raise PostgreSQLURLError(f"target_session_attrs must be one of {', '.join(_SESSIONS)}")
    root_certificates, certificate, private_key = (_path(name, options) for name in _PATHS)
    if (certificate is None) != (private_key is None):
        raise PostgreSQLURLError("sslcert and sslkey belong together")
    return PostgreSQLAddress(
        hosts=hosts,
        user=unquote(user),
        password=unquote(password) if has_password else None,
        database=database,
        tls_mode=mode,
        root_certificates=root_certificates,
        certificate=certificate,
        private_key=private_key,
        session=session,
    )


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise PostgreSQLURLError("what stands behind ? must be options such as sslmode=verify-full") from None
    options = dict(pairs)
    if len(options) != len(pairs):
        raise PostgreSQLURLError("an option is given twice")
    if not options.keys() <= set(_OPTIONS):
        raise PostgreSQLURLError(f"has an unknown option; known are {', '.join(_OPTIONS)}")
    return options


def _hosts(written: str, options: dict[str, str]) -> tuple[tuple[str, int], ...]:
    if "host" in options and written:
        raise PostgreSQLURLError("names its host twice")
    hosts = [(options["host"], None)] if "host" in options else [_host(one) for one in written.split(",")]
    return tuple((host, _port(port or options.get("port"))) for host, port in hosts)


def _host(text: str) -> tuple[str, str | None]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.\-_%]+))(?::([0-9]{1,5}))?", text)
    if match is None:
        raise PostgreSQLURLError("must name a host: postgresql://USER@HOST/DATABASE")
    return match[1] or unquote(match[2]), match[3]


def _port(text: str | None) -> int:
    if text is None:
        return DEFAULT_PORT
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) <= 65_535:
        raise PostgreSQLURLError("must have a port between 1 and 65535")
    return int(text)


def _path(name: str, options: dict[str, str]) -> Path | None:
    text = options.get(name)
    if text is None:
        return None
    if not text.startswith("/"):
        raise PostgreSQLURLError(f"{name} must be an absolute path")
    return Path(text)


def _is_here(host: str) -> bool:
    """Whether nothing on the way leaves this machine."""
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
