"""The URL of a PostgreSQL database, read strictly: nothing in it makes a connection weaker unseen."""

import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.storage.postgresql_url import PostgreSQLURLError, parse_postgresql_url
from tests.authority import Authority


def test_every_part() -> None:
    address = parse_postgresql_url(
        "postgresql://a%40s:p%2Fw%3A@db1.example,[2001:db8::1]:5433/as%20db"
        "?sslmode=verify-ca&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem&target_session_attrs=primary&port=6000"
    )
    assert address.hosts == (("db1.example", 6000), ("2001:db8::1", 5433))
    assert (address.user, address.password, address.database) == ("a@s", "p/w:", "as db")
    assert (address.tls_mode, address.session) == ("verify-ca", "primary")
    assert (address.root_certificates, address.certificate) == (Path("/ca.pem"), Path("/c.pem"))


def test_neither_text_of_an_address_holds_the_password() -> None:
    address = parse_postgresql_url("postgresql://as:hunter2@db.example/as")
    assert "hunter2" not in f"{address} {address!r}"
    assert str(address) == "postgresql://db.example:5432/as"


@pytest.mark.parametrize(
    ("place", "mode"),
    [
        ("localhost/db", "disable"),
        ("127.0.0.1:5433/db", "disable"),
        ("[::1]/db", "disable"),
        ("/db?host=/run/postgresql", "disable"),
        ("%2Frun%2Fpostgresql/db", "disable"),
        ("db.example/db", "verify-full"),
        ("10.0.0.1/db", "verify-full"),
        ("localhost.example/db", "verify-full"),
        ("localhost,db.example/db", "verify-full"),
        ("db.example/db?sslmode=require", "require"),
        ("localhost/db?sslmode=verify-full", "verify-full"),
    ],
)
def test_who_is_elsewhere_must_prove_its_name(place: str, mode: str) -> None:
    assert parse_postgresql_url(f"postgresql://as@{place}").tls_mode == mode


def test_of_several_servers_the_one_that_can_be_written() -> None:
    assert parse_postgresql_url("postgresql://as@a.example,b.example/db").session == "read-write"
    assert parse_postgresql_url("postgresql://as@a.example/db").session == "any"


@pytest.mark.parametrize(
    ("query", "mode", "checks_name"),
    [
        ("sslmode=verify-full&sslrootcert=CA", ssl.CERT_REQUIRED, True),
        ("sslmode=verify-full", ssl.CERT_REQUIRED, True),
        ("sslmode=verify-ca&sslrootcert=CA", ssl.CERT_REQUIRED, False),
        ("sslmode=require&sslrootcert=CA", ssl.CERT_REQUIRED, False),
        ("sslmode=require", ssl.CERT_NONE, False),
    ],
)
def test_what_each_mode_checks(tmp_path: Path, query: str, mode: ssl.VerifyMode, *, checks_name: bool) -> None:
    """As libpq has it (PostgreSQL manual, "SSL Support")."""
    file = tmp_path / "ca.pem"
    file.write_text(Authority.create("Database CA").pem)
    context = parse_postgresql_url(f"postgresql://as@db.example/db?{query.replace('CA', str(file))}").ssl_context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (mode, checks_name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "postgres://as@h/db",
        "postgresql:as@h/db",
        "postgresql://h/db",
        "postgresql://:hunter2@h/db",
        "postgresql://as:hunter2@/db",
        "postgresql://as:hunter2@h",
        "postgresql://as:hunter2@h/",
        "postgresql://as:hunter2@h/a/b",
        "postgresql://as:hunter2@h:0/db",
        "postgresql://as:hunter2@h:65536/db",
        "postgresql://as:hunter2@h:x/db",
        "postgresql://as:hunter2@h,/db",
        "postgresql://as:hunter2@h h/db",
        "postgresql://as:hunter2@h/db#x",
        "postgresql://as:hunter2@h/db%00",
        "postgresql://as%0a:hunter2@h/db",
        "postgresql://as:hunter2%00@h/db",
        "postgresql://as:hunter2@h%00/db",
        "postgresql://as:hunter2@h/db\n",
        "postgresql://as:hunter2@h/db?sslmode",
        "postgresql://as:hunter2@h/db?sslmode=prefer",
        "postgresql://as:hunter2@h/db?sslmode=allow",
        "postgresql://as:hunter2@h/db?sslmode=",
        "postgresql://as:hunter2@h/db?sslmode=disable&sslmode=verify-full",
        "postgresql://as:hunter2@h/db?sslrootcert=ca.pem",
        "postgresql://as:hunter2@h/db?sslcert=/c.pem",
        "postgresql://as:hunter2@h/db?options=-csynchronous_commit%3Doff",
        "postgresql://as:hunter2@h/db?host=/run",
        "postgresql://as:hunter2@h/db?target_session_attrs=standby",
        "postgresql://as:hunter2@h/db?password=hunter2",
    ],
)
def test_everything_else_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(PostgreSQLURLError) as caught:
        parse_postgresql_url(text)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """By one error, and no other."""
    for candidate in (text, f"postgresql://{text}", f"postgresql://u@h/d?{text}"):
        try:
            parse_postgresql_url(candidate)
        except PostgreSQLURLError:
            continue
