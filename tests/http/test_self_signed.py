"""`self_signed_tls_client_auth` over real TLS: registered certificates, bare keys, and keys behind a `jwks_uri`."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7517_jwk import public_jwk
from tests.authority import Authority, Identity, self_signed
from tests.remote.https_server import HTTPSServer, Request, answer
from tests.running import Deployment, RunningServer, running

SELF_SIGNED = "self_signed_tls_client_auth"


def jwk(identity: Identity, *, with_certificate: bool) -> dict[str, object]:
    key: dict[str, object] = dict(
        public_jwk(identity.certificate.public_key(), kid=str(id(identity)), algorithm="ES256")
    )  # type: ignore[arg-type] # a P-256 key
    return key | ({"x5c": [base64.b64encode(identity.der).decode()]} if with_certificate else {})


@pytest.fixture(scope="module")
def partner() -> Identity:
    return self_signed("partner")


class Publisher:
    """What the client publishes behind its `jwks_uri`, which may change or break."""

    def __init__(self) -> None:
        self.keys: list[dict[str, object]] = []
        self.status = 200

    def __call__(self, _request: Request) -> bytes:
        return answer({"keys": self.keys}, status=self.status)


@pytest.fixture(scope="module")
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture(scope="module")
def published(publisher: Publisher) -> Iterator[HTTPSServer]:
    with HTTPSServer(publisher, Authority.create("Publisher CA")) as server:
        yield server


@pytest.fixture(scope="module")
def registry(
    partner: Identity, published: HTTPSServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server with a client of each kind; it trusts the publisher's CA as a machine trusts its own CAs."""
    folder: Path = tmp_path_factory.mktemp("registry")
    deployment = Deployment(folder)
    for client_id, keys in {
        "by-certificate": {"keys": [jwk(partner, with_certificate=True)]},
        "by-key": {"keys": [jwk(partner, with_certificate=False)]},
    }.items():
        deployment.client(client_id, token_endpoint_auth_method=SELF_SIGNED, jwks=keys)
    deployment.client("by-uri", token_endpoint_auth_method=SELF_SIGNED, jwks_uri=f"{published.url}/jwks")
    authority = folder / "publisher-ca.pem"
    authority.write_text(published.authority.pem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority))
        with running(deployment) as server:
            yield server


def test_the_registered_certificate(registry: RunningServer, partner: Identity) -> None:
    """RFC 8705 §2.2: no path is validated; the certificate itself is known."""
    assert registry.token(partner, "by-certificate").status_code == 200
    assert registry.last_event.authentication_method == SELF_SIGNED


def test_a_new_certificate_of_a_registered_key(registry: RunningServer, partner: Identity) -> None:
    """A bare key accepts every certificate of that key; `x5c` only the one."""
    renewed = self_signed("partner", private_key=partner.private_key, days=30)
    assert registry.token(renewed, "by-key").status_code == 200
    assert registry.token(renewed, "by-certificate").status_code == 401
    assert registry.last_event.refusal is Refusal.KEY_NOT_REGISTERED


def test_another_self_signed_certificate(registry: RunningServer) -> None:
    for client_id in ("by-certificate", "by-key"):
        assert registry.token(self_signed("partner"), client_id).json()["error"] == "invalid_client"


def test_a_roll_over_behind_jwks_uri(registry: RunningServer, published: HTTPSServer, publisher: Publisher) -> None:
    """RFC 8705 §2.2.2: an unknown certificate is looked for once more, and no more than once per cool-down."""
    old, new, stranger = self_signed("old"), self_signed("new"), self_signed("stranger")
    publisher.keys = [jwk(old, with_certificate=True)]
    assert registry.token(old, "by-uri").status_code == 200
    fetches = len(published.requests)
    for _ in range(3):
        assert registry.token(old, "by-uri").status_code == 200
        assert registry.token(stranger, "by-uri").json()["error"] == "invalid_client"
    assert len(published.requests) <= fetches + 1
    publisher.keys = [jwk(old, with_certificate=True), jwk(new, with_certificate=True)]
    registry.move_clock(60)
    try:
        assert registry.token(new, "by-uri").status_code == 200
        assert registry.token(old, "by-uri").status_code == 200
        publisher.status = 500
        registry.move_clock(600)
        assert registry.token(new, "by-uri").status_code == 200, "a publisher that is down takes no keys away"
    finally:
        publisher.status = 200
        registry.move_clock(-660)
