"""TLS to the database: a server elsewhere must prove its name, and nothing goes on without TLS unseen.

Tests do not leave this machine, so `sslmode` is told here; what it is by default is tested with the URLs.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_as.storage import DatabaseUnavailable, current, upgrade
from tests.authority import Authority
from tests.postgresql import PostgreSQL, running_postgresql


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("Database CA")


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with running_postgresql(fsync=False) as server:
        folder = server.folder / "data"
        owner = folder.stat()
        for file in authority.issue_server("db.example", "127.0.0.1").write(folder, "server"):
            os.chown(file, owner.st_uid, owner.st_gid)
            file.chmod(0o600)
        server.execute("ALTER SYSTEM SET ssl = on")
        server.execute("ALTER SYSTEM SET ssl_cert_file = 'server.pem'")
        server.execute("ALTER SYSTEM SET ssl_key_file = 'server-key.pem'")
        (folder / "pg_hba.conf").write_text("local all all scram-sha-256\nhostssl all all all scram-sha-256\n")
        server.stop()
        server.start()
        yield server


@pytest.fixture
def url(server: PostgreSQL) -> Iterator[str]:
    with server.database() as url:
        yield url


def write_ca(folder: Path, authority: Authority) -> Path:
    file = folder / "ca.pem"
    file.write_text(authority.pem)
    return file


def test_a_server_that_proves_its_name(url: str, authority: Authority, tmp_path: Path) -> None:
    ca = write_ca(tmp_path, authority)
    upgrade(f"{url}?sslmode=verify-full&sslrootcert={ca}")


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca", "require"])
def test_a_ca_that_vouches_for_nobody_here(url: str, tmp_path: Path, mode: str) -> None:
    ca = write_ca(tmp_path, Authority.create("Another CA"))
    with pytest.raises(DatabaseUnavailable, match="the server's certificate is refused"):
        current(f"{url}?sslmode={mode}&sslrootcert={ca}")


def test_another_name(url: str, authority: Authority, tmp_path: Path) -> None:
    ca = write_ca(tmp_path, authority)
    elsewhere = url.replace("127.0.0.1", "localhost")
    with pytest.raises(DatabaseUnavailable, match="the server's certificate is refused"):
        current(f"{elsewhere}?sslmode=verify-full&sslrootcert={ca}")
    assert current(f"{elsewhere}?sslmode=verify-ca&sslrootcert={ca}") is None


def test_the_cas_of_the_system_do_not_vouch_for_it(url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="the server's certificate is refused"):
        current(f"{url}?sslmode=verify-full")
    assert current(f"{url}?sslmode=require") is None


def test_without_tls_it_lets_nobody_in(url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"does not let this user in; see pg_hba\.conf"):
        current(f"{url}?sslmode=disable")


def test_a_server_without_tls_is_not_spoken_to(postgresql: PostgreSQL) -> None:
    """The password stays here."""
    with pytest.raises(DatabaseUnavailable, match="the server has no TLS"):
        current(postgresql.url("postgres") + "?sslmode=require")


def test_a_file_that_is_missing(url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="sslrootcert, sslcert or sslkey cannot be used: No such file"):
        current(f"{url}?sslmode=verify-full&sslrootcert=/nowhere/ca.pem")
