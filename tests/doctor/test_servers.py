"""What the doctor finds on its way to a server, in its TLS, its metadata and its tokens."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from tests.authority import Authority, dns, self_signed
from tests.cli.workplace import free_ports
from tests.doctor.odd_servers import WELL_KNOWN, OddIssuer, client_options, silent_socket, strict_server
from tests.doctor.scene import REPORTS, diagnose
from tests.remote.https_server import Request
from tests.verifier.issuer import OMIT, Issuer

DAY = timedelta(days=1)
CA = Authority.create("Server CA")


def test_a_server_that_is_as_it_should_be(tmp_path: Path) -> None:
    with OddIssuer(tmp_path).running() as server:
        found = server.diagnose()
    assert (found.status, found.failures()) == (0, [])


def test_nobody_listens() -> None:
    [port] = free_ports(1)
    found = diagnose(f"https://localhost:{port}")
    assert found.failures() == ["issuer/tcp"]
    assert "refuses connections" in found["tcp"]["seen"]
    assert found["tls.version"]["status"] == "skipped"
    assert found["metadata"]["status"] == "skipped"


def test_a_server_that_says_nothing() -> None:
    """A time-out in the handshake, after the time that was given."""
    with silent_socket() as port:
        found = diagnose(f"https://localhost:{port}", "--timeout", "0.2")
    assert found.failures() == ["issuer/tls.version"]
    assert found["tls.version"]["seen"] == "the server does not answer in the handshake"


def test_a_server_that_hangs_up() -> None:
    with silent_socket(closes=True) as port:
        found = diagnose(f"https://localhost:{port}")
    assert found.failures() == ["issuer/tls.version"]
    assert "closes the connection" in found["tls.version"]["seen"]


def test_a_server_that_does_not_speak_tls() -> None:
    with silent_socket(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        found = diagnose(f"https://localhost:{port}")
    assert found.failures() == ["issuer/tls.version"]
    assert "does not speak TLS" in found["tls.version"]["seen"]


def test_plain_http_is_looked_at_on_this_machine_and_is_a_failure() -> None:
    """No token goes there."""
    with silent_socket() as port:
        found = diagnose(f"http://localhost:{port}")
    assert found.failures() == ["issuer/tls.version"]
    assert "plain http" in found["tls.version"]["seen"]


def test_an_expired_server_certificate(tmp_path: Path) -> None:
    """Its operator renews it; nothing is asked of the server beyond that, and no token."""
    now = datetime.now(UTC)
    old = CA.issue(
        "localhost",
        san=[dns("localhost")],
        not_before=now - 9 * DAY,
        not_after=now - DAY,
        extended_key_usages=[ExtendedKeyUsageOID.SERVER_AUTH],
    )
    with OddIssuer(tmp_path, tls={"authority": CA, "identity": old}).running() as server:
        found = server.diagnose()
        paths = server.server.paths()
    assert found.failures() == ["issuer/tls.validity"]
    assert "see tls.validity" in found["tls.chain"]["seen"]
    assert "expired on" in found["tls.validity"]["seen"]
    assert found["tls.validity"]["next"][0]["who"] == "the authorization server's operator"
    assert found["tls.validity"]["next"][1]["what"].startswith("If the dates look right, set this machine's clock")
    assert found["token"]["seen"] == "the authorization server cannot be talked to"
    assert set(paths) <= {"/"}


def test_an_expired_ca(tmp_path: Path) -> None:
    """Which the server does not send: it stands in our own file."""
    now = datetime.now(UTC)
    ca = Authority.create("Old CA", not_before=now - 9 * DAY, not_after=now - DAY)
    with OddIssuer(tmp_path, tls={"authority": ca}).running() as server:
        found = server.diagnose()
    assert found.failures() == ["issuer/tls.chain"]
    assert found["tls.chain"]["next"][0]["who"] == "you"


def test_a_server_with_a_certificate_for_clients(tmp_path: Path) -> None:
    """Wrong extended key usage."""
    wrong = CA.issue("localhost", san=[dns("localhost")])
    with OddIssuer(tmp_path, tls={"authority": CA, "identity": wrong}).running() as server:
        found = server.diagnose()
    assert found.failures() == ["issuer/tls.chain"]
    assert "serverAuth" in found.steps("tls.chain")


def test_a_missing_intermediate(tmp_path: Path) -> None:
    """The chain is incomplete: the leaf's issuer is neither sent nor trusted."""
    complete = Authority.create("Issuing CA", parent=CA).issue_server("localhost")
    bare = replace(complete, chain=())
    with OddIssuer(tmp_path, tls={"authority": CA, "identity": bare}).running() as server:
        found = server.diagnose()
    assert found.failures() == ["issuer/tls.chain"]
    assert "CN=Issuing CA is neither sent nor trusted" in found["tls.chain"]["seen"]
    assert "append its certificate" in found.steps("tls.chain")
    with OddIssuer(tmp_path, tls={"authority": CA, "identity": complete}).running() as server:
        assert server.diagnose()["tls.chain"]["seen"].startswith("3 certificates, trusted by ")


def test_a_server_of_a_ca_that_is_not_ours(tmp_path: Path) -> None:
    """Unknown by name; and a namesake, whose key is another."""
    with OddIssuer(tmp_path, tls={"authority": CA}).running() as server:
        other = server.diagnose(ca=Authority.create("Other CA"))
        namesake = server.diagnose(ca=Authority.create("Server CA"))
    assert other.failures() == namesake.failures() == ["issuer/tls.chain"]
    assert "CN=Server CA is neither sent nor trusted" in other["tls.chain"]["seen"]
    assert "--ca FILE" in other.steps("tls.chain")
    assert "another key made the signature" in namesake["tls.chain"]["seen"]


def test_a_self_signed_server(tmp_path: Path) -> None:
    with OddIssuer(tmp_path, tls={"identity": self_signed("localhost")}).running() as server:
        found = server.diagnose()
    assert found.failures() == ["issuer/tls.chain", "issuer/tls.name"]
    assert "the chain is self-signed" in found["tls.chain"]["seen"]


def test_a_certificate_for_another_host(tmp_path: Path) -> None:
    """Nothing goes to a server that has another name."""
    with OddIssuer(tmp_path, tls={"authority": CA, "identity": CA.issue_server("as.example")}).running() as server:
        found = server.diagnose()
    assert found.failures() == ["issuer/tls.name"]
    assert found["tls.name"]["seen"] == "it is not for localhost, but for as.example"
    assert found["metadata"]["status"] == found["token"]["status"] == "skipped"


def test_a_server_that_has_only_tls_1_2(tmp_path: Path) -> None:
    """It works, with a warning."""
    with OddIssuer(tmp_path, tls={"maximum": ssl.TLSVersion.TLSv1_2}).running() as server:
        found = server.diagnose()
    assert found.status == 0
    assert (found["tls.version"]["status"], found["tls.version"]["seen"]) == ("warning", "TLS 1.2, and not 1.3")
    assert found["tls.client_certificate"]["status"] == "ok"
    assert found["token.binding"]["status"] == "ok"


def test_a_server_that_asks_for_no_certificate(tmp_path: Path) -> None:
    """Nothing can be bound; and the token shows it."""
    with OddIssuer(tmp_path, tls={"asks": False}).running() as server:
        found = server.diagnose()
    assert found.failures() == ["issuer/tls.client_certificate", "token/token.binding"]
    assert "ssl_verify_client optional_no_ca;" in found.steps("tls.client_certificate")
    assert "bound to nothing" in found["token.binding"]["seen"]


def test_a_server_that_refuses_our_certificate_in_the_handshake(tmp_path: Path) -> None:
    """As the alert says; in TLS 1.3 it comes only after the handshake. The CAs that it names are told, too."""
    stranger = Authority.create("Unknown CA").issue("reports")
    with strict_server(tmp_path, CA) as url:
        found = diagnose(url, *client_options(tmp_path, stranger, CA))
    assert found["tls.client_certificate"]["status"] == "warning"
    assert found["tls.client_certificate"]["details"] == ["it asks for certificates of CN=Client CA"]
    assert found["tls.own_certificate"]["seen"].endswith("its CA does not count there (unknown_ca)")
    assert "trust CN=Unknown CA" in found.steps("tls.own_certificate")


def test_a_server_that_names_our_ca(tmp_path: Path) -> None:
    with strict_server(tmp_path, CA) as url:
        found = diagnose(url, *client_options(tmp_path, REPORTS, CA))
    assert found["tls.client_certificate"]["seen"] == "one is asked for, of 1 CA, yours among them"
    assert found["tls.own_certificate"]["status"] == "ok"


@pytest.mark.parametrize("maximum", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"])
def test_a_server_that_demands_a_certificate_is_looked_at_without_one(tmp_path: Path, maximum: int) -> None:
    """TLS 1.2 ends the handshake at that; what came before it is told, and its chain is trusted by then."""
    (tmp_path / "ca.pem").write_text(CA.pem)
    with strict_server(tmp_path, CA, maximum=maximum) as url:
        without = diagnose(url, "--ca", tmp_path / "ca.pem")
        found = diagnose(url, *client_options(tmp_path, REPORTS, CA))
    for each in (without, found):
        assert each["tls.chain"]["status"] == "ok"
        assert each["tls.client_certificate"]["status"] == "ok"
    assert found["tls.own_certificate"]["status"] == "ok"
    assert "status 404" in found["metadata"]["seen"]


def test_a_server_that_hangs_up_on_our_certificate(tmp_path: Path) -> None:
    """As some do, without an alert."""
    stranger = Authority.create("Unknown CA").issue("reports")
    with OddIssuer(tmp_path).running() as server:
        found = server.diagnose(identity=stranger)
    assert found["tls.own_certificate"]["status"] == "failure"
    assert "closes the connection without a word" in found["tls.own_certificate"]["seen"]


@pytest.mark.parametrize("ahead", [600.0, -600.0, 8.0, 2.0])
def test_clocks_that_are_apart(tmp_path: Path, ahead: float) -> None:
    """In both directions, with what follows of it; 10 s are tolerated, 5 s are not worth a word."""
    with OddIssuer(tmp_path, clock_ahead=ahead).running() as server:
        found = server.diagnose(identity=None)["clock"]
    expected = {600.0: "failure", -600.0: "failure", 8.0: "warning", 2.0: "ok"}
    assert found["status"] == expected[ahead]
    if abs(ahead) == 600.0:
        assert ("ahead of ours: its tokens begin in the future" in found["seen"]) == (ahead > 0)
        assert ("behind ours: your assertions" in found["seen"]) == (ahead < 0)
        assert "timedatectl status" in found["next"][0]["lines"]


def test_the_clock_is_seen_though_the_chain_is_not_trusted(tmp_path: Path) -> None:
    """Where our own clock is wrong, certificates seem to be, too."""
    with OddIssuer(tmp_path, clock_ahead=86_400 * 400.5).running() as server:
        found = server.diagnose(ca=Authority.create("Other CA"))
    assert found["clock"]["seen"].startswith("the server's clock is 400 days ahead of ours")
    assert found["clock"]["status"] == "failure"


def test_metadata_of_another_issuer(tmp_path: Path) -> None:
    """RFC 8414 §3.3: not to be used, and no token is asked for."""
    with OddIssuer(tmp_path, metadata={"issuer": "https://as.example"}).running() as server:
        found = server.diagnose()
        assert "/token" not in server.server.paths()
    assert found.failures() == ["issuer/metadata.issuer"]
    assert found["metadata.issuer"]["next"][0]["lines"] == ["https://as.example"]
    assert found["token"]["seen"] == "there is no metadata of this issuer"


def test_a_server_that_names_another_token_endpoint_when_asked_again(tmp_path: Path) -> None:
    """What was looked at counts: nobody has consented to the other."""

    class Turncoat(OddIssuer):
        def _document(self, request: Request) -> object:
            document = super()._document(request)
            if request.path == WELL_KNOWN:
                self.metadata["token_endpoint"] = "https://other.example/token"
            return document

    with Turncoat(tmp_path).running() as server:
        found = server.diagnose()
        assert "/token" in server.server.paths()
    assert found["token"]["status"] == "ok"


def test_an_issuer_with_a_final_slash(tmp_path: Path) -> None:
    """To the character."""
    with OddIssuer(tmp_path).running() as server:
        server.metadata["issuer"] = server.server.url + "/"
        found = server.diagnose()
    assert found["metadata.issuer"]["seen"].endswith("(a final slash counts)")


@pytest.mark.parametrize(
    ("metadata", "check", "status", "word"),
    [
        ({"token_endpoint": "http://as.example/token"}, "metadata.endpoints", "failure", "no token_endpoint"),
        ({"mtls_endpoint_aliases": ["x"]}, "metadata.endpoints", "failure", "RFC 8705"),
        ({"tls_client_certificate_bound_access_tokens": False}, "metadata.binding", "warning", "does not say"),
        ({"token_endpoint_auth_methods_supported": ["none"]}, "metadata.auth_methods", "warning", "no way"),
        ({"jwks_uri": None}, "jwks", "warning", "introspected"),
        ({"jwks_uri": "https://keys.example/"}, "jwks", "skipped", "--follow"),
    ],
    ids=["http endpoint", "aliases", "unbound", "no certificates", "no keys", "keys elsewhere"],
)  # fmt: skip
def test_metadata_that_lacks_something(
    tmp_path: Path, metadata: dict[str, object], check: str, status: str, word: str
) -> None:
    with OddIssuer(tmp_path, metadata=metadata).running() as server:
        found = server.diagnose()[check]
    assert found["status"] == status
    assert word in found["seen"]


def test_a_token_endpoint_on_another_host_is_asked_with_consent_alone(tmp_path: Path) -> None:
    aliases = {"token_endpoint": "https://mtls.as.example/token"}
    with OddIssuer(tmp_path, metadata={"mtls_endpoint_aliases": aliases}).running() as server:
        found = server.diagnose()
    assert found["token"]["seen"] == "the token endpoint is at mtls.as.example: give --follow to talk to it"
    assert found["tls.client_certificate"]["status"] == "ok"


def test_an_alias_on_another_port_is_looked_at_too(tmp_path: Path) -> None:
    """RFC 8705 §5: the issuer asks for no certificate, its alias does."""
    with (
        OddIssuer(tmp_path, tls={"authority": CA}).running() as mtls,
        OddIssuer(tmp_path, tls={"authority": CA, "asks": False}, issuer=mtls.issuer).running() as server,
    ):
        server.metadata["mtls_endpoint_aliases"] = {"token_endpoint": mtls.server.url + "/token"}
        mtls.claims["iss"] = server.server.url
        found = server.diagnose()
    assert found.failures() == []
    assert "mtls_endpoint_aliases" in found["issuer/tls.client_certificate"]["seen"]
    assert found["token_endpoint/tls.client_certificate"]["seen"].startswith("one is asked for")


def test_keys_that_nobody_can_use(tmp_path: Path) -> None:
    with OddIssuer(tmp_path, jwks={"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}).running() as server:
        found = server.diagnose()
    assert found.failures() == ["issuer/jwks", "token/token.signature"]


@pytest.mark.parametrize(
    ("claims", "check", "word"),
    [
        ({"cnf": OMIT}, "token.binding", "bound to nothing"),
        ({"cnf": {"x5t#S256": "A" * 43}}, "token.binding", "another certificate"),
        ({"cnf": {"jkt": "A" * 43}}, "token.binding", "not bound to a certificate"),
        ({"aud": OMIT}, "token.audience", "for nobody"),
    ],
    ids=["unbound", "another certificate", "another binding", "no audience"],
)
def test_tokens_that_lack_something(tmp_path: Path, claims: dict[str, object], check: str, word: str) -> None:
    with OddIssuer(tmp_path, claims=claims).running() as server:
        found = server.diagnose()
    assert found.failures() == [f"token/{check}"]
    assert word in found[check]["seen"]


def test_a_token_for_another_resource_than_the_one_asked_for(tmp_path: Path) -> None:
    """RFC 8707 §2.2."""
    with OddIssuer(tmp_path).running() as server:
        found = server.diagnose("--resource", "https://other.example")
    assert found.failures() == ["token/token.audience"]


def test_a_token_that_no_published_key_signed(tmp_path: Path) -> None:
    with OddIssuer(tmp_path, jwks=Issuer().jwks).running() as server:
        found = server.diagnose()
    assert found.failures() == ["token/token.signature"]
    assert "no key has the kid" in found["token.signature"]["seen"]


def test_only_openid_metadata(tmp_path: Path) -> None:
    """The client reads RFC 8414 alone; what there is, is said."""
    with OddIssuer(tmp_path).running() as server:
        usual = server.server.handler
        openid = "/.well-known/openid-configuration"
        server.server.handler = lambda request: (
            b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            if "oauth" in request.path
            else usual(replace(request, path="/.well-known/oauth-authorization-server"))
            if request.path == openid
            else usual(request)
        )
        found = server.diagnose()
    assert "issuer/metadata" in found.failures()
    assert openid in found["metadata"]["details"][0]
