"""oauth4webapi, a client library for JavaScript runtimes, with mutual TLS and `use_mtls_endpoint_aliases`."""

from typing import Any

import pytest

from tests.interop.javascript import Node
from tests.interop.site import Site

CASES: dict[str, dict[str, Any]] = {
    "tls_client_auth": {"party": "c1"},
    "tls_client_auth over HTTP/2": {"party": "c1", "http2": True},
    "self_signed_tls_client_auth": {"party": "own"},
    "DPoP": {"party": "dpop", "dpop": "ES256"},
}


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CASES[request.param]


@pytest.fixture(scope="module")
def findings(node: Node, site: Site, case: dict[str, Any]) -> Any:
    """What the client found; it validates each answer by itself, the metadata among them, and would have raised."""
    task = {"folder": str(site.folder), "issuer": site.issuer, "resource": site.resource, "http2": False, "dpop": None}
    return node.run("oauth4webapi.mjs", task | case)


def test_the_aliases_lead_to_the_token_endpoint(findings: Any, site: Site) -> None:
    """RFC 8705 §5: the issuer asks for no certificate; who does not know of aliases finds the same endpoint."""
    assert findings["server"]["issuer"] == site.issuer
    assert findings["server"]["mtls_endpoint_aliases"]["token_endpoint"] == f"{site.mtls_url}/token"
    assert findings["without_aliases"] is None


def test_only_the_clients_own_certificate_gets_a_token(findings: Any, case: dict[str, Any]) -> None:
    """RFC 8705 §2: without, and with another certificate of the same CA, the client is not authenticated."""
    assert findings["answer"]["token_type"] == ("dpop" if "dpop" in case else "bearer")
    assert (findings["without_certificate"], findings["with_another"]) == ("invalid_client", "invalid_client")


def test_the_token_is_good_with_what_it_is_bound_to(findings: Any, case: dict[str, Any], site: Site) -> None:
    """With the certificate, and with no other and none (RFC 8705 §3); bound to a DPoP key, with any (RFC 9449 §7)."""
    statuses = {name: use["status"] for name, use in findings["uses"].items()}
    body = findings["uses"]["right"]["body"]
    assert body["client"] == case["party"]
    if "dpop" in case:
        assert statuses == {"right": 200, "other": 200, "none": 200}
        assert (body["certificate"], len(body["key"])) == (None, 43)
        return
    assert statuses == {"right": 200, "other": 401, "none": 401}
    assert body["certificate"] == site.thumbprint(case["party"])
    for name in ("other", "none"):
        [*challenges] = findings["uses"][name]["challenges"]
        [bearer] = [each for each in challenges if each["scheme"] == "bearer"]
        assert bearer["parameters"]["error"] == "invalid_token"


def test_introspection_says_what_the_token_is_bound_to(findings: Any, case: dict[str, Any], site: Site) -> None:
    """RFC 7662 §2.2 and RFC 8705 §3.2, plain and signed (RFC 9701), whose signature the client checks by our keys."""
    for name in ("introspected", "introspected_signed"):
        said = findings[name]
        assert (said["active"], said["client_id"], said["scope"]) == (True, case["party"], "reports:read")
        assert list(said["cnf"]) == (["jkt"] if "dpop" in case else ["x5t#S256"])
        if "dpop" not in case:
            assert said["cnf"]["x5t#S256"] == site.thumbprint(case["party"])


def test_revocation_ends_the_token(findings: Any) -> None:
    """RFC 7009 §2."""
    assert findings["introspected_after_revocation"] == {"active": False}
