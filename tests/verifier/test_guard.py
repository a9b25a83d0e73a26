"""The guard that all adapters ask: what it lets through, what it answers, what it publishes."""

import json
from typing import Any

import pytest

from mtls_as.rfc.rfc6750_bearer import BearerError
from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadata
from mtls_as.verifier import ProofMemory, Refusal, ResourceGuard, TLSExtension, VerifiedToken
from tests.verifier.requests import AS, MINE, THIEF, TOKEN, guard, request, verifier

METADATA = ResourceMetadata(resource="https://api.example/v1", authorization_servers=("https://as.example",))
METADATA_URL = "https://api.example/.well-known/oauth-protected-resource/v1"
DETAIL = {"type": "payment", "actions": ["initiate"]}


async def refused(guarding: ResourceGuard, **replaced: Any) -> Refusal:
    answer = await guarding.check(request(**replaced))
    assert isinstance(answer, Refusal)
    return answer


async def test_a_good_request() -> None:
    verified = await guard(scopes=["reports:read"]).check(request())
    assert isinstance(verified, VerifiedToken)
    assert (verified.client_id, verified.actors, verified.authorization_details) == ("reports", (), ())


REFUSED: dict[str, tuple[dict[str, Any], int, BearerError | None]] = {
    "no token": ({"token": None}, 401, None),
    "another certificate": ({"connection": {"certificate": THIEF.der}}, 401, BearerError.INVALID_TOKEN),
    "no certificate": ({"connection": {"certificate": None}}, 401, BearerError.INVALID_TOKEN),
    "not over TLS": ({"secure": False}, 401, BearerError.INVALID_TOKEN),
    "expired": ({"token": AS.token(MINE.der, exp=1)}, 401, BearerError.INVALID_TOKEN),
    "for another audience": ({"token": AS.token(MINE.der, aud="https://x.example")}, 401, BearerError.INVALID_TOKEN),
    "without the scope": ({"token": AS.token(MINE.der, scope="other")}, 403, BearerError.INSUFFICIENT_SCOPE),
    "token in the query": ({"query": b"access_token=x"}, 400, BearerError.INVALID_REQUEST),
    "two tokens": ({"headers": [(b"authorization", b"Bearer a")] * 2}, 400, BearerError.INVALID_REQUEST),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
async def test_refused(case: tuple[dict[str, Any], int, BearerError | None]) -> None:
    """RFC 6750 §3.1, RFC 8705 §3: status, error code, a challenge that says both, and a body that says the same."""
    replaced, status, error = case
    answer = await refused(guard(scopes=["reports:read"]), **replaced)
    assert (answer.status, answer.error) == (status, error)
    challenge = answer.header_map["www-authenticate"]
    assert challenge.startswith(f'Bearer error="{error}"' if error else 'Bearer scope="reports:read"')
    assert answer.header_map["cache-control"] == "no-store"
    assert (json.loads(answer.body)["error"] == error) if error else answer.body == b""


async def test_scopes_of_one_request() -> None:
    """A route asks for more than the whole application, and the challenge names all of it."""
    answer = await guard(scopes=["reports:read"]).check(request(), scopes=["reports:write"])
    assert isinstance(answer, Refusal)
    assert 'scope="reports:read reports:write"' in answer.header_map["www-authenticate"]


async def test_authorization_details() -> None:
    """RFC 9396: one detail of the type is enough, none is 403, and one that cannot be read is no token at all."""
    paying = guard(authorization_details=["payment"])
    verified = await paying.check(request(AS.token(MINE.der, authorization_details=[DETAIL])))
    assert isinstance(verified, VerifiedToken)
    assert verified.authorization_details == (DETAIL,)
    for details in ([{"type": "account"}], None):
        claims = {} if details is None else {"authorization_details": details}
        answer = await refused(paying, token=AS.token(MINE.der, **claims))
        assert (answer.status, answer.error) == (403, BearerError.INSUFFICIENT_SCOPE)
    broken = await refused(guard(), token=AS.token(MINE.der, authorization_details={"type": "payment"}))
    assert (broken.status, broken.error) == (401, BearerError.INVALID_TOKEN)


ACTORS: dict[str, tuple[dict[str, Any], Any, int]] = {
    "nobody, nothing asked": ({}, None, 200),
    "somebody, nothing asked": ({"act": {"sub": "batch"}}, None, 200),
    "nobody, as wanted": ({}, (), 200),
    "somebody, nobody wanted": ({"act": {"sub": "batch"}}, (), 403),
    "one of those named": ({"act": {"sub": "batch"}}, ("batch", "cron"), 200),
    "another": ({"act": {"sub": "other"}}, ("batch",), 403),
    "nobody, and somebody is wanted": ({}, ("batch",), 403),
    "one of those named, but earlier": ({"act": {"sub": "other", "act": {"sub": "batch"}}}, ("batch",), 403),
    "a namesake of another issuer": ({"act": {"sub": "batch", "iss": "https://x.example"}}, ("batch",), 403),
    "unreadable": ({"act": "batch"}, None, 401),
}


@pytest.mark.parametrize("case", ACTORS.values(), ids=ACTORS)
async def test_actors(case: tuple[dict[str, Any], Any, int]) -> None:
    """RFC 8693 §4.1: only who acts now counts, by its name and its issuer."""
    claims, actors, status = case
    answer = await guard(actors=actors).check(request(AS.token(MINE.der, **claims)))
    assert (200 if isinstance(answer, VerifiedToken) else answer.status) == status


async def test_metadata_are_published_without_a_token() -> None:
    """RFC 9728 §3.1: at the well-known path with the resource's own path behind it, for reading."""
    publishing = guard(metadata=METADATA)
    path = "/.well-known/oauth-protected-resource/v1"
    answer = await publishing.admit(request(None, path=path))
    assert not isinstance(answer, VerifiedToken)
    assert (answer.status, answer.header_map["content-type"]) == (200, "application/json")
    assert json.loads(answer.body) == METADATA.document()
    for other in ({"path": "/.well-known/oauth-protected-resource"}, {"path": path, "method": "POST"}):
        answer = await publishing.admit(request(None, **other))
        assert isinstance(answer, Refusal)
        assert answer.status == 401
    assert isinstance(await guard().admit(request(None, path=path)), Refusal)


async def test_challenges_say_where_the_metadata_are() -> None:
    """RFC 9728 §5.1, with an error and without, by each scheme."""
    both = ResourceGuard(
        verifier(dpop=ProofMemory()), certificates=TLSExtension(), dpop_url="https://api.example", metadata=METADATA
    )
    answer = await refused(both, token=None)
    challenges = [value for name, value in answer.headers if name == "www-authenticate"]
    assert [value.partition(" ")[0] for value in challenges] == ["Bearer", "DPoP"]
    assert all(f'resource_metadata="{METADATA_URL}"' in value for value in challenges)
    bad = await refused(guard(metadata=METADATA), token="x.y.z")
    assert f', resource_metadata="{METADATA_URL}"' in bad.header_map["www-authenticate"]


@pytest.mark.parametrize(
    "arguments",
    [{"scopes": "reports:read"}, {"actors": "batch"}, {"authorization_details": "payment"}, {"scopes": ['a"b']}],
    ids=str,
)
def test_mistakes_are_noticed_at_once(arguments: dict[str, Any]) -> None:
    """A text in place of a list of texts would ask for each of its letters."""
    with pytest.raises(ValueError, match=r"texts|printable"):
        guard(**arguments)


async def test_a_verifier_that_breaks_lets_nobody_in() -> None:
    """What was not foreseen is an error of the server, and never a token."""

    class Broken:
        accepts_dpop = False

        async def verify(self, *arguments: Any, **named: Any) -> VerifiedToken:
            raise RuntimeError(TOKEN[:0] + "broken")

    with pytest.raises(RuntimeError):
        await ResourceGuard(Broken(), certificates=TLSExtension()).check(
            request(connection={"extensions": {"tls": {"client_cert_chain": [MINE.pem]}}})
        )
