"""ML-DSA from end to end: certificates that clients present, tokens that the server signs, the keys of connections."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_as.rfc.rfc7517_jwk import JWKSet, parse_jwks, public_jwk
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.verifier import AccessTokenVerifier, InvalidToken
from mtls_as.verifier.asgi import RequireBoundToken
from tests.authority import Authority, Identity, dns, new_key, self_signed
from tests.openssl_client import Answer, connected, post_form
from tests.running import RESOURCE, Deployment, RunningServer, running, token_form
from tests.tls.apps import tell_tls
from tests.tls.peers import HTTP2Client, serving

ML_DSA = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("PQ CA", private_key=new_key("ML-DSA-65"))


@pytest.fixture(scope="module")
def known() -> Identity:
    return self_signed("known", private_key=new_key("ML-DSA-44"))


@pytest.fixture(scope="module")
def server(authority: Authority, known: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    deployment = Deployment(tmp_path_factory.mktemp("pq")).trust("default", authority)
    deployment.client("c1", tls_client_auth_san_dns="c1.example")
    jwk = public_jwk(known.certificate.public_key(), kid="k", algorithm="ML-DSA-44")  # type: ignore[arg-type] # ML-DSA
    deployment.client("known", token_endpoint_auth_method="self_signed_tls_client_auth", jwks={"keys": [jwk]})
    with running(deployment) as server:
        yield server


def token(server: RunningServer, identity: Identity | None, client_id: str = "c1") -> Answer:
    with connected(server.ports["mtls"], identity, folder=server.deployment.folder / "clients") as connection:
        return post_form(connection, "/token", token_form(client_id))


@pytest.mark.parametrize("kind", [*ML_DSA, "P-256"])
def test_a_certificate_of_an_ml_dsa_authority(server: RunningServer, authority: Authority, kind: str) -> None:
    """Possession proved in the handshake, the path verified, and the token bound to it."""
    identity = authority.issue("c1", san=[dns("c1.example")], private_key=new_key(kind))
    answer = token(server, identity)
    assert answer.status == 200, answer.body
    with server.client() as client:
        keys = client.get("/jwks").json()
    verifier = AccessTokenVerifier(issuer=server.deployment.issuer, audience=RESOURCE, jwks=keys)
    verified = asyncio.run(verifier.verify(answer.json()["access_token"], certificate=identity.der))
    assert verified.thumbprint == x5t_s256(identity.der)


def test_a_self_signed_certificate(server: RunningServer, known: Identity) -> None:
    """Registered by its key alone, of type AKP."""
    assert token(server, known, "known").status == 200
    stranger = self_signed("known", private_key=new_key("ML-DSA-44"))
    assert token(server, stranger, "known").status == 401
    assert server.last_event.refusal == "key_not_registered"


def test_a_namesake_of_the_authority(server: RunningServer) -> None:
    """Another ML-DSA key under the same name signs for nobody."""
    namesake = Authority.create("PQ CA", private_key=new_key("ML-DSA-65"))
    identity = namesake.issue("c1", san=[dns("c1.example")], private_key=new_key("ML-DSA-65"))
    assert token(server, identity).status == 401
    assert server.last_event.refusal in {"untrusted_issuer", "bad_signature"}


def test_the_connections_keys_stand_in_the_event(server: RunningServer, authority: Authority) -> None:
    """X25519MLKEM768 where the client offers it, as today's OpenSSL does by itself, and what it was otherwise."""
    identity = authority.issue("c1", san=[dns("c1.example")], private_key=new_key("ML-DSA-44"))
    assert token(server, identity).status == 200
    assert server.last_event.tls_group == "X25519MLKEM768"
    with server.client() as client:
        client.post("/token", data=token_form("c1"))
    assert server.last_event.tls_group in {"x25519", "X25519", "X25519MLKEM768"}


@pytest.mark.parametrize("algorithm", ML_DSA)
def test_tokens_signed_with_ml_dsa(algorithm: str, tmp_path: Path) -> None:
    """Issued, published, and verified by those who opt in, and by no others."""
    authority = Authority.create("CA")
    identity = authority.issue("c1", san=[dns("c1.example")])
    deployment = Deployment(tmp_path, algorithm=algorithm).trust("default", authority)
    deployment.client("c1", tls_client_auth_san_dns="c1.example")
    with running(deployment) as server:
        signed = server.token(identity).json()["access_token"]
        with server.client() as client:
            keys = client.get("/jwks").json()
    assert keys["keys"][0]["kty"] == "AKP"
    assert keys["keys"][0]["alg"] == algorithm
    settings = {"issuer": deployment.issuer, "audience": RESOURCE, "jwks": keys}
    opted_in = AccessTokenVerifier(**settings, algorithms=("ES256", algorithm))
    assert asyncio.run(opted_in.verify(signed, certificate=identity.der)).client_id == "c1"
    with pytest.raises(InvalidToken, match="not allowed"):
        asyncio.run(AccessTokenVerifier(**settings).verify(signed, certificate=identity.der))


def test_each_resource_has_its_own_algorithm(tmp_path: Path) -> None:
    """Several algorithms are active at once."""
    authority = Authority.create("CA")
    identity = authority.issue("c1", san=[dns("c1.example")])
    deployment = Deployment(tmp_path).trust("default", authority)
    deployment.sections.append(
        '[keys]\nalgorithms = ["EdDSA"]\n[[resources]]\nidentifier = "https://pq.example"\nscopes = ["pq"]\n'
        'algorithm = "ML-DSA-44"'
    )
    deployment.client("c1", tls_client_auth_san_dns="c1.example", scope="reports:read pq")
    with running(deployment) as server:
        for resource, algorithm in ((RESOURCE, "ES256"), ("https://pq.example", "ML-DSA-44")):
            signed = server.token(identity, resource=resource).json()["access_token"]
            with server.client() as client:
                keys = parse_jwks(client.get("/jwks").json())
            assert _algorithm_of(signed, keys) == algorithm


def _algorithm_of(signed: str, keys: JWKSet) -> str:
    import jwt

    header = jwt.get_unverified_header(signed)
    key = keys.find(header["kid"])
    assert key is not None
    assert key.algorithm == header["alg"]
    return str(header["alg"])


async def test_the_largest_token_passes_through_our_own_server(tmp_path: Path) -> None:
    """Its header fits, over HTTP/1.1 and HTTP/2, with five KiB of claims beside a signature of ML-DSA-87."""
    from mtls_as.rfc.rfc7519_jwt import sign
    from tests.verifier.issuer import AUDIENCE, ISSUER, NOW, Issuer

    key = new_key("ML-DSA-87")
    identity = Authority.create("CA").issue("c1")
    claims = Issuer().claims(identity.der, note="x" * 5_000)
    signed = sign(claims, type="at+jwt", kid="k", algorithm="ML-DSA-87", private_key=key)  # type: ignore[arg-type] # ML-DSA
    assert len(signed) > 13_000
    jwks = {"keys": [public_jwk(key.public_key(), kid="k", algorithm="ML-DSA-87")]}  # type: ignore[arg-type] # ML-DSA
    verifier = AccessTokenVerifier(
        issuer=ISSUER, audience=AUDIENCE, jwks=jwks, algorithms=["ML-DSA-87"], clock=lambda: NOW
    )
    async with serving(RequireBoundToken(tell_tls, verifier), tmp_path) as server:
        async with await server.connect(identity) as client:
            assert (await client.get(headers=f"Authorization: Bearer {signed}\r\n")).status == 200
        async with await HTTP2Client.open(server, identity) as client2:
            assert (await client2.get(authorization=f"Bearer {signed}")).status == 200
