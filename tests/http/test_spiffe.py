"""SPIFFE clients over real TLS: draft-ietf-oauth-spiffe-client-auth-02, and what one trust domain tries on another.

Every refusal is the same 401 `invalid_client` to the client; the reason stands in the event alone.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from tests.authority import HOUR, Authority, Identity, dns, key_usage, self_signed, uri
from tests.running import Deployment, RunningServer, running
from tests.workloads import TrustDomain, assertion, document, new_authority

BATCH = "spiffe://prod.example/batch/*"


class World:
    """Two trust domains, federated: each has a bundle here, and clients."""

    def __init__(self) -> None:
        self.prod = TrustDomain("prod.example")
        self.partner = TrustDomain("partner.example")
        self.plain = Authority.create("Plain CA")


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    deployment = Deployment(tmp_path_factory.mktemp("spiffe"))
    for domain in (world.prod, world.partner):
        deployment.sections.append(f'[spiffe."{domain.name}"]\nbundle = "{domain.write(deployment.folder)}"')
    deployment.trust("plain", world.plain)
    deployment.client("plain", trust="plain", tls_client_auth_san_uri="spiffe://prod.example/reports")
    x509 = {"token_endpoint_auth_method": "spiffe_x509"}
    deployment.client("reports", spiffe_id="spiffe://prod.example/reports", **x509)
    deployment.client("partner", spiffe_id="spiffe://partner.example/reports", **x509)
    deployment.client("jobs", spiffe_id="spiffe://prod.example/jobs/*", **x509)
    deployment.client("spiffe://prod.example/named", spiffe_id="spiffe://prod.example/named", **x509)
    deployment.client(BATCH, spiffe_id=BATCH, **x509)
    deployment.client("off", spiffe_id="spiffe://prod.example/reports", enabled=False, **x509)
    spiffe_jwt = {"token_endpoint_auth_method": "spiffe_jwt"}
    deployment.client("jwt", spiffe_id="spiffe://prod.example/jwt", **spiffe_jwt)
    deployment.client("jwt-partner", spiffe_id="spiffe://partner.example/jwt", **spiffe_jwt)
    workers = "spiffe://prod.example/workers/*"
    deployment.client(workers, spiffe_id=workers, **spiffe_jwt)
    bearer = {"tls_client_certificate_bound_access_tokens": False}
    deployment.client("jwt-bearer", spiffe_id="spiffe://prod.example/jwt", **spiffe_jwt, **bearer)
    with running(deployment) as server:
        yield server


def claims_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    import jwt

    claims: dict[str, Any] = jwt.decode(response.json()["access_token"], options={"verify_signature": False})
    return claims


def refused(server: RunningServer, response: httpx.Response, refusal: Refusal) -> None:
    """The one answer to every refusal, and the reason in the event."""
    assert server.last_event.refusal is refusal, server.last_event
    assert (response.status_code, response.json()) == (
        401,
        {"error": "invalid_client", "error_description": "Client authentication failed."},
    )


class TestX509:
    """`spiffe_x509`, §3.2."""

    def test_a_workload_gets_a_bound_token(self, server: RunningServer, world: World) -> None:
        svid = world.prod.svid("/reports")
        claims = claims_of(server.token(svid, "reports"))
        assert claims["sub"] == claims["client_id"] == "reports"
        assert claims["cnf"] == {"x5t#S256": x5t_s256(svid.der)}
        event = server.last_event
        assert (event.authentication_method, event.spiffe_id) == ("spiffe_x509", "spiffe://prod.example/reports")
        assert event.trust == "spiffe://prod.example"

    def test_through_an_intermediate_authority(self, server: RunningServer, world: World) -> None:
        """The certificates between leaf and bundle come with the handshake."""
        intermediate = new_authority("prod.example", "Intermediate CA", parent=world.prod.authority)
        assert server.token(intermediate.issue_svid("spiffe://prod.example/reports"), "reports").status_code == 200

    def test_other_names_beside_the_uri(self, server: RunningServer, world: World) -> None:
        """X509-SVID §2: any number of SANs of other types."""
        svid = world.prod.svid("/reports", san=[dns("reports.example"), uri("spiffe://prod.example/reports")])
        assert server.token(svid, "reports").status_code == 200

    @pytest.mark.parametrize("path", ["/jobs/1", "/jobs/a/b/c"])
    def test_a_prefix(self, server: RunningServer, world: World, path: str) -> None:
        """§5.1: every workload below the path; which one it was stands in the log."""
        assert claims_of(server.token(world.prod.svid(path), "jobs"))["sub"] == "jobs"
        assert server.last_event.spiffe_id == f"spiffe://prod.example{path}"

    @pytest.mark.parametrize("path", ["/jobs", "/jobs1", "/jobs1/a", "/Jobs/1", "/a/jobs/1", "/reports"])
    def test_outside_the_prefix(self, server: RunningServer, world: World, path: str) -> None:
        """§5.1: complete path segments."""
        refused(server, server.token(world.prod.svid(path), "jobs"), Refusal.SUBJECT_MISMATCH)

    @pytest.mark.parametrize(
        "text",
        [
            "spiffe://prod.example/jobs/",
            "spiffe://prod.example/jobs/.",
            "spiffe://prod.example/jobs/../jobs/1",
            "spiffe://prod.example/x/../jobs/1",
            "spiffe://prod.example/jobs//1",
            "spiffe://prod.example/jobs/%31",
            "spiffe://prod.example/jobs%2f1",
            "spiffe://PROD.example/jobs/1",
            "SPIFFE://prod.example/jobs/1",
            "spiffe://prod.example:443/jobs/1",
            "spiffe://u@prod.example/jobs/1",
            "spiffe://prod.example/jobs/1?x",
            "spiffe://prod.example/jobs/1#x",
            "spiffe://prod.example/jobs/*",
            "https://prod.example/jobs/1",
        ],
    )
    def test_what_only_looks_like_an_id(self, server: RunningServer, world: World, text: str) -> None:
        """SPIFFE-ID §2: an ID has one spelling; nothing is decoded, folded or resolved."""
        refused(server, server.token(world.prod.authority.issue_svid(text), "jobs"), Refusal.NOT_AN_SVID)

    @pytest.mark.parametrize(
        "second", ["spiffe://prod.example/other", "spiffe://partner.example/reports", "https://a.example"]
    )
    def test_two_uris(self, server: RunningServer, world: World, second: str) -> None:
        """X509-SVID §5.2: MUST be rejected, in either order."""
        first = "spiffe://prod.example/reports"
        for uris in ((first, second), (second, first)):
            refused(server, server.token(world.prod.authority.issue_svid(*uris), "reports"), Refusal.NOT_AN_SVID)

    def test_the_right_name_from_another_domain_s_authority(self, server: RunningServer, world: World) -> None:
        """A bundle speaks for its own trust domain alone, in both directions."""
        forged = world.partner.authority.issue_svid("spiffe://prod.example/reports")
        refused(server, server.token(forged, "reports"), Refusal.UNTRUSTED_ISSUER)
        forged = world.prod.authority.issue_svid("spiffe://partner.example/reports")
        refused(server, server.token(forged, "partner"), Refusal.UNTRUSTED_ISSUER)

    def test_the_other_domain_s_own_workload(self, server: RunningServer, world: World) -> None:
        """The same path in another trust domain is another workload."""
        refused(server, server.token(world.partner.svid("/reports"), "reports"), Refusal.SUBJECT_MISMATCH)
        assert server.token(world.partner.svid("/reports"), "partner").status_code == 200

    def test_a_namesake_of_the_authority(self, server: RunningServer, world: World) -> None:
        """The same DN and SPIFFE ID, another key."""
        svid = new_authority("prod.example").issue_svid("spiffe://prod.example/reports")
        refused(server, server.token(svid, "reports"), Refusal.UNTRUSTED_ISSUER)

    def test_x509_trust_domains_and_spiffe_do_not_mix(self, server: RunningServer, world: World) -> None:
        """Neither do anchors of a `[trust]` vouch for SVIDs, nor bundles for `tls_client_auth`."""
        svid = world.plain.issue_svid("spiffe://prod.example/reports")
        assert server.token(svid, "plain").status_code == 200
        refused(server, server.token(svid, "reports"), Refusal.UNTRUSTED_ISSUER)
        refused(server, server.token(world.prod.svid("/reports"), "plain"), Refusal.UNTRUSTED_ISSUER)

    def test_expired_and_not_yet_valid(self, server: RunningServer, world: World) -> None:
        now = datetime.now(UTC)
        old = world.prod.svid("/reports", not_before=now - 2 * HOUR, not_after=now - timedelta(minutes=1))
        refused(server, server.token(old, "reports"), Refusal.CERTIFICATE_EXPIRED)
        early = world.prod.svid("/reports", not_before=now + HOUR, not_after=now + 2 * HOUR)
        refused(server, server.token(early, "reports"), Refusal.CERTIFICATE_NOT_YET_VALID)

    def test_an_authority_is_no_workload(self, server: RunningServer, world: World) -> None:
        """X509-SVID §3.2: signing certificates MUST NOT be used for authentication."""
        refused(server, server.token(world.prod.authority, "reports"), Refusal.NOT_AN_SVID)
        ca = world.prod.svid("/reports", ca=True, usage=key_usage(digital_signature=True, key_cert_sign=True))
        refused(server, server.token(ca, "reports"), Refusal.CA_CERTIFICATE_AS_LEAF)

    def test_no_certificate_or_one_without_any_name(self, server: RunningServer) -> None:
        refused(server, server.token(None, "reports"), Refusal.NO_CERTIFICATE)
        refused(server, server.token(self_signed(), "reports"), Refusal.NOT_AN_SVID)

    def test_a_jwt_svid_beside_it(self, server: RunningServer, world: World) -> None:
        """RFC 6749 §2.3: the client's own method, and no second credential."""
        form = assertion(world.prod.jwt_svid("/reports"))
        refused(
            server, server.token(world.prod.svid("/reports"), "reports", **form), Refusal.WRONG_AUTHENTICATION_METHOD
        )


class TestNames:
    """`client_id` as a SPIFFE ID, §3.2."""

    def test_a_client_registered_under_its_id(self, server: RunningServer, world: World) -> None:
        claims = claims_of(server.token(world.prod.svid("/named"), "spiffe://prod.example/named"))
        assert claims["sub"] == "spiffe://prod.example/named"

    def test_a_client_registered_under_its_prefix(self, server: RunningServer, world: World) -> None:
        response = server.token(world.prod.svid("/batch/eu/7"), "spiffe://prod.example/batch/eu/7")
        assert claims_of(response)["client_id"] == BATCH

    def test_the_name_is_the_one_in_the_svid(self, server: RunningServer, world: World) -> None:
        """§3.2: it MUST match the URI SAN."""
        response = server.token(world.prod.svid("/batch/2"), "spiffe://prod.example/batch/1")
        refused(server, response, Refusal.SUBJECT_MISMATCH)

    @pytest.mark.parametrize(
        "client_id",
        [
            "spiffe://prod.example/batch",
            "spiffe://prod.example/batches/1",
            "spiffe://prod.example/batch/../batch/1",
            "spiffe://other.example/batch/1",
            "spiffe://partner.example/batch/1",
            f"spiffe://prod.example/{'a/' * 100}a",
        ],
    )
    def test_ids_of_nobody(self, server: RunningServer, world: World, client_id: str) -> None:
        response = server.token(world.prod.svid("/batch/1"), client_id)
        refused(server, response, Refusal.UNKNOWN_CLIENT)

    def test_unknown_disabled_and_mismatching_get_the_same_answer(self, server: RunningServer, world: World) -> None:
        """`refused` compares the whole answer."""
        svid = world.prod.svid("/other")
        refused(server, server.token(svid, "nobody"), Refusal.UNKNOWN_CLIENT)
        refused(server, server.token(svid, "off"), Refusal.DISABLED_CLIENT)
        refused(server, server.token(svid, "reports"), Refusal.SUBJECT_MISMATCH)
        token = assertion(world.partner.jwt_svid("/jwt"))
        refused(server, server.token(svid, "nobody", **token), Refusal.UNKNOWN_CLIENT)
        refused(server, server.token(svid, "jwt", **token), Refusal.ASSERTION_UNTRUSTED)


class TestJwt:
    """`spiffe_jwt`, §3.1."""

    @pytest.fixture
    def certificate(self, world: World) -> Identity:
        """Any certificate binds: whoever issued it, its key is proven (RFC 8705 §3)."""
        return self_signed()

    def test_a_workload_gets_a_token_bound_to_the_connection(
        self, server: RunningServer, world: World, certificate: Identity
    ) -> None:
        claims = claims_of(server.token(certificate, "jwt", **assertion(world.prod.jwt_svid("/jwt"))))
        assert claims["sub"] == "jwt"
        assert claims["cnf"] == {"x5t#S256": x5t_s256(certificate.der)}
        event = server.last_event
        assert (event.authentication_method, event.spiffe_id) == ("spiffe_jwt", "spiffe://prod.example/jwt")
        assert event.certificate is None, "it binds, and authenticated nobody"

    def test_a_client_that_is_bound_gets_no_token_without_a_certificate(
        self, server: RunningServer, world: World
    ) -> None:
        """RFC 8705 §3.4."""
        response = server.token(None, "jwt", **assertion(world.prod.jwt_svid("/jwt")))
        refused(server, response, Refusal.NO_CERTIFICATE)

    def test_bearer_tokens_have_to_be_registered(self, server: RunningServer, world: World) -> None:
        response = server.token(None, "jwt-bearer", **assertion(world.prod.jwt_svid("/jwt")))
        assert "cnf" not in claims_of(response)

    def test_without_client_id_the_svid_names_the_client(
        self, server: RunningServer, world: World, certificate: Identity
    ) -> None:
        """RFC 7521 §4.2: `client_id` is unnecessary."""
        response = server.token(certificate, None, **assertion(world.prod.jwt_svid("/workers/3")))
        assert claims_of(response)["sub"] == "spiffe://prod.example/workers/*"
        unknown = server.token(certificate, None, **assertion(world.prod.jwt_svid("/nobody")))
        refused(server, unknown, Refusal.UNKNOWN_CLIENT)

    def test_without_client_id_no_key_speaks_for_another_domain(
        self, server: RunningServer, world: World, certificate: Identity
    ) -> None:
        """Both domains use one `kid` here, as an attacker would see to."""
        assert world.prod.kid == world.partner.kid
        forged = world.partner.sign({"sub": "spiffe://prod.example/workers/3"})
        refused(server, server.token(certificate, None, **assertion(forged)), Refusal.NOT_AN_SVID)
        stranger = TrustDomain("prod.example")
        refused(
            server,
            server.token(certificate, None, **assertion(stranger.jwt_svid("/workers/3"))),
            Refusal.ASSERTION_UNTRUSTED,
        )

    def test_client_id_as_the_workload_s_id(self, server: RunningServer, world: World, certificate: Identity) -> None:
        token = assertion(world.prod.jwt_svid("/workers/3"))
        assert server.token(certificate, "spiffe://prod.example/workers/3", **token).status_code == 200
        refused(server, server.token(certificate, "spiffe://prod.example/workers/4", **token), Refusal.SUBJECT_MISMATCH)

    def test_two_domains_cannot_impersonate_each_other(
        self, server: RunningServer, world: World, certificate: Identity
    ) -> None:
        """The signature of one for an ID of the other, and its own ID for the other's client."""
        for one, other, client in ((world.prod, world.partner, "jwt-partner"), (world.partner, world.prod, "jwt")):
            forged = one.sign({"sub": other.id("/jwt")})
            refused(server, server.token(certificate, client, **assertion(forged)), Refusal.ASSERTION_UNTRUSTED)
            own = one.jwt_svid("/jwt")
            refused(server, server.token(certificate, client, **assertion(own)), Refusal.ASSERTION_UNTRUSTED)

    @pytest.mark.parametrize("path", ["/jw", "/jwt2", "/jwt/a", "/JWT", "/workers/1"])
    def test_other_workloads(self, server: RunningServer, world: World, certificate: Identity, path: str) -> None:
        token = assertion(world.prod.jwt_svid(path))
        refused(server, server.token(certificate, "jwt", **token), Refusal.SUBJECT_MISMATCH)

    @pytest.mark.parametrize(
        ("claims", "refusal"),
        [
            ({"aud": "https://localhost:8443/"}, Refusal.ASSERTION_WRONG_AUDIENCE),
            ({"aud": "https://localhost:8443/token"}, Refusal.ASSERTION_WRONG_AUDIENCE),
            ({"aud": ["https://localhost:8443", "https://b.example"]}, Refusal.ASSERTION_WRONG_AUDIENCE),
            ({"aud": None}, Refusal.ASSERTION_WRONG_AUDIENCE),
            ({"exp": None}, Refusal.ASSERTION_MALFORMED),
            ({"exp": 1}, Refusal.ASSERTION_EXPIRED),
            ({"exp": 4_000_000_000}, Refusal.ASSERTION_LIFETIME_TOO_LONG),
            ({"iat": 4_000_000_000}, Refusal.ASSERTION_NOT_YET_VALID),
        ],
    )
    def test_claims(
        self, server: RunningServer, world: World, certificate: Identity, claims: dict[str, Any], refusal: Refusal
    ) -> None:
        """§3.1, steps 1 to 3."""
        token = assertion(world.prod.jwt_svid("/jwt", **claims))
        refused(server, server.token(certificate, "jwt", **token), refusal)

    def test_a_jwt_svid_can_be_used_until_it_expires(
        self, server: RunningServer, world: World, certificate: Identity
    ) -> None:
        """JWT-SVID §7.1: nobody has to track `jti`, and workloads reuse what they have."""
        token = assertion(world.prod.jwt_svid("/jwt", jti="1"))
        for _ in range(2):
            assert server.token(certificate, "jwt", **token).status_code == 200

    def test_an_access_token_is_no_jwt_svid(self, server: RunningServer, world: World, certificate: Identity) -> None:
        access_token = server.token(certificate, "jwt", **assertion(world.prod.jwt_svid("/jwt"))).json()["access_token"]
        refused(server, server.token(certificate, "jwt", **assertion(access_token)), Refusal.ASSERTION_MALFORMED)

    @pytest.mark.parametrize(
        "change",
        [
            {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
            {"client_assertion_type": "jwt-spiffe"},
            {"client_assertion_type": None},
            {"client_assertion": None},
            {"client_assertion": None, "client_assertion_type": None},
        ],
    )
    def test_it_says_that_it_is_one(
        self, server: RunningServer, world: World, certificate: Identity, change: dict[str, Any]
    ) -> None:
        """§3.1: both parameters, and this very type."""
        form: dict[str, Any] = assertion(world.prod.jwt_svid("/jwt")) | change
        refused(server, server.token(certificate, "jwt", **form), Refusal.WRONG_AUTHENTICATION_METHOD)

    def test_an_x509_svid_is_not_enough(self, server: RunningServer, world: World) -> None:
        """The registered method, not any that would prove the same ID."""
        refused(server, server.token(world.prod.svid("/jwt"), "jwt"), Refusal.WRONG_AUTHENTICATION_METHOD)

    def test_a_secret_beside_it(self, server: RunningServer, world: World, certificate: Identity) -> None:
        """RFC 6749 §2.3."""
        form = assertion(world.prod.jwt_svid("/jwt")) | {"client_secret": "x"}
        response = server.token(certificate, "jwt", **form)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_metadata_names_the_methods(server: RunningServer) -> None:
    """§4: advertised where they exist."""
    with server.client() as client:
        metadata = client.get("/.well-known/oauth-authorization-server").json()
    assert {"spiffe_x509", "spiffe_jwt"} <= set(metadata["token_endpoint_auth_methods_supported"])


class TestReload:
    """Bundles change while the server runs, and connections stay open."""

    @pytest.fixture
    def domain(self) -> TrustDomain:
        return TrustDomain("moving.example")

    @pytest.fixture
    def moving(self, domain: TrustDomain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
        deployment = Deployment(tmp_path_factory.mktemp("moving"))
        file = domain.write(deployment.folder, sequence=5)
        deployment.sections.append(f'[spiffe."moving.example"]\nbundle = "{file}"')
        spiffe_id = "spiffe://moving.example/a"
        deployment.client("x509", token_endpoint_auth_method="spiffe_x509", spiffe_id=spiffe_id)
        deployment.client("jwt", token_endpoint_auth_method="spiffe_jwt", spiffe_id=spiffe_id)
        with running(deployment) as server:
            yield server

    def publish(self, server: RunningServer, text: str) -> None:
        """Replace the file, as an operator does, and let the server look at it."""
        file = server.deployment.folder / "moving.example.bundle.json"
        beside = file.with_suffix(".new")
        beside.write_text(text)
        beside.replace(file)
        server.call(server.node.generation.federation.refresh())

    def test_a_new_authority_is_taken_over_and_an_old_one_dropped(
        self, moving: RunningServer, domain: TrustDomain
    ) -> None:
        """The old workload is refused at its next request, on the connection that it has open."""
        following = TrustDomain("moving.example", kid="jwt-2")
        with moving.client(domain.svid("/a")) as old, moving.client(following.svid("/a")) as new:
            form = {"grant_type": "client_credentials", "client_id": "x509"}
            assert [client.post("/token", data=form).status_code for client in (old, new)] == [200, 401]
            both = domain.bundle(*following.bundle()["keys"], sequence=6)
            self.publish(moving, json.dumps(both))
            assert [client.post("/token", data=form).status_code for client in (old, new)] == [200, 200]
            self.publish(moving, json.dumps(following.bundle(sequence=7)))
            assert [client.post("/token", data=form).status_code for client in (old, new)] == [401, 200]
        stale = moving.token(self_signed(), "jwt", **assertion(domain.jwt_svid("/a")))
        refused(moving, stale, Refusal.ASSERTION_KEY_UNKNOWN)
        assert moving.token(self_signed(), "jwt", **assertion(following.jwt_svid("/a"))).status_code == 200

    @pytest.mark.parametrize(
        "text", ["", "{", "<html>", "[]", '{"keys": [{"use": "jwt-svid", "kty": "oct", "k": "AAAA", "kid": "k"}]}']
    )
    def test_a_broken_file_changes_nothing(self, moving: RunningServer, domain: TrustDomain, text: str) -> None:
        self.publish(moving, text)
        assert moving.token(domain.svid("/a"), "x509").status_code == 200

    def test_an_older_bundle_changes_nothing(self, moving: RunningServer, domain: TrustDomain) -> None:
        intruder = TrustDomain("moving.example")
        self.publish(moving, json.dumps(intruder.bundle(sequence=4)))
        assert moving.token(domain.svid("/a"), "x509").status_code == 200
        refused(moving, moving.token(intruder.svid("/a"), "x509"), Refusal.UNTRUSTED_ISSUER)

    def test_a_removed_file_changes_nothing(self, moving: RunningServer, domain: TrustDomain) -> None:
        (moving.deployment.folder / "moving.example.bundle.json").unlink()
        moving.call(moving.node.generation.federation.refresh())
        assert moving.token(domain.svid("/a"), "x509").status_code == 200

    def test_an_empty_bundle_withdraws_every_key(self, moving: RunningServer, domain: TrustDomain) -> None:
        """SPIFFE Trust Domain and Bundle §4.1.3."""
        assert moving.token(domain.svid("/a"), "x509").status_code == 200
        self.publish(moving, json.dumps(document(sequence=6)))
        refused(moving, moving.token(domain.svid("/a"), "x509"), Refusal.UNTRUSTED_ISSUER)
        token = assertion(domain.jwt_svid("/a"))
        refused(moving, moving.token(self_signed(), "jwt", **token), Refusal.ASSERTION_KEY_UNKNOWN)

    def test_the_server_looks_by_itself(self, moving: RunningServer, domain: TrustDomain) -> None:
        """What `serve` runs beside the requests takes a change over within seconds."""
        following = TrustDomain("moving.example")
        loop = asyncio.run_coroutine_threadsafe(moving.node.follow_bundles(), moving.loop)
        try:
            following.write(moving.deployment.folder, sequence=6)
            deadline = time.monotonic() + 8
            while moving.token(following.svid("/a"), "x509").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            loop.cancel()
        refused(moving, moving.token(domain.svid("/a"), "x509"), Refusal.UNTRUSTED_ISSUER)
