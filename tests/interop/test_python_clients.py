"""requests, and Authlib on top of requests and of httpx: nothing of this project is in these clients."""

from typing import Any

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session

from tests.interop.site import Site

FORM = {"grant_type": "client_credentials", "scope": "reports:read"}


def session(site: Site, party: str | None) -> requests.Session:
    """With the certificate of a party."""
    session = requests.Session()
    session.verify, session.cert, session.trust_env = site.ca, party and site.files(party), False
    return session


def discover(site: Site) -> dict[str, Any]:
    """The metadata, and in it the endpoints for clients with certificates (RFC 8705 §5)."""
    with session(site, None) as plain:
        metadata = plain.get(f"{site.issuer}/.well-known/oauth-authorization-server", timeout=10).json()
    assert metadata["issuer"] == site.issuer
    return {**metadata, **metadata["mtls_endpoint_aliases"]}


@pytest.mark.parametrize("party", ["c1", "own"])
def test_requests(site: Site, party: str) -> None:
    """tls_client_auth and self_signed_tls_client_auth: a token, its use, and no use of it by anybody else."""
    url, reports = discover(site)["token_endpoint"], f"{site.resource}/reports"
    form = FORM | {"client_id": party, "resource": site.resource}
    with session(site, party) as mine, session(site, "thief") as thief, session(site, None) as nobody:
        token = mine.post(url, data=form, timeout=10).json()["access_token"]
        for other in (thief, nobody):
            refused = other.post(url, data=form, timeout=10)
            assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
        bearer = {"Authorization": f"Bearer {token}"}
        answers = [each.get(reports, headers=bearer, timeout=10) for each in (mine, thief, nobody)]
    assert [answer.status_code for answer in answers] == [200, 401, 401]
    assert answers[0].json() == {"client": party, "key": None, "certificate": site.thumbprint(party)}
    assert all('error="invalid_token"' in answer.headers["www-authenticate"] for answer in answers[1:])


@pytest.mark.parametrize("party", ["c1", "own"])
def test_authlib_on_requests(site: Site, party: str) -> None:
    """`OAuth2Session`: its method `none` sends the `client_id` that mutual TLS needs (RFC 8705 §2)."""
    metadata = discover(site)
    options = {"verify": site.ca, "cert": site.files(party)}
    with OAuth2Session(party, token_endpoint_auth_method="none", scope="reports:read") as client:
        client.trust_env = False
        token = client.fetch_token(metadata["token_endpoint"], FORM["grant_type"], resource=site.resource, **options)
        assert (token["token_type"], token["scope"]) == ("Bearer", "reports:read")
        answer = client.get(f"{site.resource}/reports", **options)
        assert answer.json()["certificate"] == site.thumbprint(party)
        stolen = client.get(f"{site.resource}/reports", verify=site.ca, cert=site.files("thief"))
        assert stolen.status_code == 401
        revoked = client.revoke_token(metadata["revocation_endpoint"], token["access_token"], **options)
        assert revoked.status_code == 200
    with OAuth2Session("rs", token_endpoint_auth_method="none") as resource_server:
        resource_server.trust_env = False
        said = resource_server.introspect_token(
            metadata["introspection_endpoint"], token["access_token"], verify=site.ca, cert=site.files("rs")
        )
        assert said.json() == {"active": False}


@pytest.mark.filterwarnings("ignore:The httpx module is deprecated")  # for httpx2, which Authlib prefers
async def test_authlib_on_httpx(site: Site) -> None:
    """`AsyncOAuth2Client`, which fetches a token by itself when the one that it has ends."""
    from authlib.integrations.httpx_client import AsyncOAuth2Client

    url = discover(site)["token_endpoint"]
    client = AsyncOAuth2Client(
        "c1", token_endpoint_auth_method="none", grant_type="client_credentials", token_endpoint=url,
        scope="reports:read", verify=site.context("c1"), trust_env=False,
    )  # fmt: skip
    async with client:
        first = dict(await client.fetch_token(resource=site.resource))
        assert (await client.get(f"{site.resource}/reports")).json()["client"] == "c1"
        client.token = first | {"expires_at": 1}
        answer = await client.get(f"{site.resource}/reports")
        assert client.token["access_token"] != first["access_token"]
        assert (answer.status_code, answer.json()["client"]) == (200, "c1")
