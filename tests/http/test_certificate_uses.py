"""A running server remembers which certificates its clients come with."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from mtls_as.server.certificate_use import SeenCertificate
from tests.authority import Authority, dns, self_signed
from tests.running import Deployment, RunningServer, running


def seen_by(server: RunningServer) -> tuple[SeenCertificate, ...]:
    server.call(server.node.certificate_uses.flush())
    found: tuple[SeenCertificate, ...] = server.call(server.node.storage.seen_certificates.list())
    return found


def test_a_certificate_is_seen_when_it_authenticated_a_client(tmp_path: Path) -> None:
    """With its domain, and however the request ended; a stranger's is not."""
    authority, stranger = Authority.create("Partner CA"), self_signed("c1")
    deployment = Deployment(tmp_path).trust("partner", authority)
    deployment.client("c1", trust="partner", tls_client_auth_san_dns="c1.example")
    identity = authority.issue("c1", san=[dns("c1.example")])
    with running(deployment) as server:
        assert server.token(identity).status_code == 200
        assert server.token(identity, scope="no:such").status_code == 400
        assert server.token(stranger).status_code == 401
        [seen] = seen_by(server)
        assert server.events[0].trust == "partner"
    use = seen.use
    assert (use.client_id, use.trust, use.authentication_method, use.count) == ("c1", "partner", "tls_client_auth", 2)
    assert (use.subject, use.issuer) == ("CN=c1", "CN=Partner CA")


def test_a_database_that_is_locked_delays_no_request(tmp_path: Path) -> None:
    """The token is issued at once; the use is stored when the database lets it."""
    authority = Authority.create("Partner CA")
    deployment = Deployment(tmp_path).trust("default", authority).client("c1", tls_client_auth_san_dns="c1.example")
    identity = authority.issue("c1", san=[dns("c1.example")])
    with running(deployment) as server, contextlib.closing(sqlite3.connect(tmp_path / "test.db")) as other:
        assert server.token(identity).status_code == 200
        other.execute("BEGIN IMMEDIATE")
        flushing = asyncio.run_coroutine_threadsafe(server.node.certificate_uses.flush(), server.loop)
        assert server.token(identity).status_code == 200
        assert server.last_event.latency_seconds is not None
        assert server.last_event.latency_seconds < 1.0
        assert not flushing.done()
        other.rollback()
        flushing.result(10)
        [seen] = seen_by(server)
    assert seen.use.count == 2
