"""Certificates from a Workload API: taken, renewed, and kept when nothing of use comes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from mtls_as.client import ClientConfigurationError, MutualTLSAuth, TokenSource
from mtls_as.client.spiffe import WorkloadCertificate
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from tests.authority import Identity
from tests.client.resource_server import BoundServer
from tests.client.workload_api import WorkloadAPI, workload_api
from tests.workloads import TrustDomain

DOMAIN = TrustDomain("prod.example")
REPORTS = "spiffe://prod.example/reports"


def svid(path: str = "reports") -> Identity:
    return DOMAIN.authority.issue_svid(f"spiffe://prod.example/{path}")


@pytest.fixture
def api() -> Iterator[WorkloadAPI]:
    with workload_api() as api:
        yield api


def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError


def holds(source: WorkloadCertificate, identity: Identity) -> bool:
    return source.current().x5t_s256 == x5t_s256(identity.der)


def test_the_first_and_its_successor(api: WorkloadAPI) -> None:
    """Pushed by the API, without being asked again."""
    first, second = svid(), svid()
    api.give(DOMAIN, first)
    with WorkloadCertificate(api.socket) as source:
        assert holds(source, first)
        assert source.current() is source.current()
        api.give(DOMAIN, second)
        until(lambda: holds(source, second))
    assert api.streams == 1
    assert holds(source, second)  # after the end, too


def test_the_socket_of_the_environment(api: WorkloadAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", f"unix:{api.socket}")
    only = svid()
    api.give(DOMAIN, only)
    with WorkloadCertificate() as source:
        assert holds(source, only)


def test_one_of_several(api: WorkloadAPI) -> None:
    """By its SPIFFE ID, and the first without; one that is not there is an error."""
    first, other = svid("first"), svid()
    api.give(DOMAIN, first, other)
    with WorkloadCertificate(api.socket) as source:
        assert holds(source, first)
    with WorkloadCertificate(api.socket, spiffe_id=REPORTS) as source:
        assert holds(source, other)
    with pytest.raises(ClientConfigurationError, match="no SVID of spiffe:"):
        WorkloadCertificate(api.socket, spiffe_id="spiffe://prod.example/absent")


def test_a_key_of_another_certificate(api: WorkloadAPI) -> None:
    """The SVID at hand stays."""
    first = svid()
    api.give(DOMAIN, first)
    with WorkloadCertificate(api.socket) as source:
        api.give(DOMAIN, svid(), key_of=svid())
        until(lambda: source.problem is not None)
        assert "does not go with" in str(source.problem)
        assert holds(source, first)
        last = svid()
        api.give(DOMAIN, last)
        until(lambda: holds(source, last))
        assert source.problem is None


def test_an_answer_that_cannot_be_read(api: WorkloadAPI) -> None:
    """The library ends its stream; it is begun anew after some seconds."""
    from spiffe._proto import workload_pb2

    now = [0.0]
    first, last = svid(), svid()
    api.give(DOMAIN, first)
    with WorkloadCertificate(api.socket, monotonic=lambda: now[0]) as source:
        junk = workload_pb2.X509SVID(spiffe_id=REPORTS, x509_svid=b"junk", x509_svid_key=b"junk", bundle=b"")
        api.send(workload_pb2.X509SVIDResponse(svids=[junk]))
        until(lambda: source.problem is not None)
        assert holds(source, first)
        api.response = None
        now[0] = 6.0
        source.current()
        until(lambda: api.streams == 2)
        until(lambda: bool(api._listeners))
        api.give(DOMAIN, last)
        until(lambda: holds(source, last))


def test_an_agent_that_restarts(api: WorkloadAPI, tmp_path: Path) -> None:
    """The SVID at hand is used meanwhile, and the next one comes by itself."""
    only, last = svid(), svid()
    api.give(DOMAIN, only)
    other = WorkloadAPI(api.socket.parent)
    other.socket = api.socket.parent / "other.sock"
    other.give(DOMAIN, only)
    with other.running():
        source = WorkloadCertificate(other.socket)
    with source:
        assert holds(source, only)
        other.give(DOMAIN, last)
        with other.running():
            until(lambda: holds(source, last))


@pytest.mark.parametrize("error", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED])
def test_a_workload_without_an_identity(api: WorkloadAPI, error: grpc.StatusCode) -> None:
    api.error = error
    with pytest.raises(ClientConfigurationError, match="Workload API"):
        WorkloadCertificate(api.socket, seconds=0.3)


def test_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    for socket in (tmp_path / "absent.sock", None):
        with pytest.raises(ClientConfigurationError, match="Workload API"):
            WorkloadCertificate(socket)


def test_one_way_to_trust_servers(tmp_path: Path) -> None:
    with pytest.raises(ClientConfigurationError, match="trust_bundle"):
        WorkloadCertificate(tmp_path / "a.sock", ca=tmp_path / "ca.pem", trust_bundle=True)


def test_tokens_with_an_svid_and_its_successor(api: WorkloadAPI) -> None:
    """The servers are of the trust domain, too, and trusted by its bundle."""
    first, second = svid(), svid()
    api.give(DOMAIN, first)
    with BoundServer(DOMAIN.authority, authority=DOMAIN.authority) as server:
        with WorkloadCertificate(api.socket, trust_bundle=True) as certificate:
            tokens = TokenSource(issuer=server.url, client_id="reports", certificate=certificate)
            with MutualTLSAuth.using(tokens).client() as http:
                assert http.get(server.url + "/api").status_code == 200
                api.give(DOMAIN, second)
                until(lambda: holds(certificate, second))
                assert http.get(server.url + "/api").status_code == 200
        assert (server.connections_of(first), server.connections_of(second), server.refusals) == (1, 1, 0)
