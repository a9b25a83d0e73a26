"""curl alone, as in a shell: metadata, a token from the endpoint that the alias names, and its use."""

import json
import subprocess
from typing import Any

import pytest

from tests.interop.site import Site
from tests.programs import require_program


def curl(site: Site, party: str | None, url: str, *arguments: str) -> tuple[int, str, Any]:
    """The status, the challenge, and the answer."""
    certificate, key = site.files(party) if party else ("", "")
    command = [
        *(require_program("curl"), "--silent", "--show-error", "--cacert", site.ca),
        *(("--cert", certificate, "--key", key) if party else ()),
        *("--write-out", "\n%header{www-authenticate}\n%{http_code}", *arguments, url),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    body, challenge, status = done.stdout.rsplit("\n", 2)
    return int(status), challenge, json.loads(body) if body else None


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("party", ["c1", "own"])
def test_from_the_issuer_to_the_resource(site: Site, party: str, version: str) -> None:
    """The issuer's name is all that it begins with. The token is good with its certificate alone."""
    status, _, metadata = curl(site, None, f"{site.issuer}/.well-known/oauth-authorization-server", version)
    assert (status, metadata["issuer"]) == (200, site.issuer)
    endpoint = metadata["mtls_endpoint_aliases"]["token_endpoint"]
    form = f"grant_type=client_credentials&client_id={party}&resource={site.resource}"
    status, _, answer = curl(site, party, endpoint, version, "--data", form)
    assert (status, answer["token_type"], answer["scope"]) == (200, "Bearer", "reports:read")
    for other in ("thief", None):
        status, _, refused = curl(site, other, endpoint, version, "--data", form)
        assert (status, refused["error"]) == (401, "invalid_client")

    def use(presented: str | None, *header: str) -> tuple[int, str, Any]:
        return curl(site, presented, f"{site.resource}/reports", version, *header)

    bearer = ("--header", f"Authorization: Bearer {answer['access_token']}")
    status, _, reports = use(party, *bearer)
    assert (status, reports["client"], reports["certificate"]) == (200, party, site.thumbprint(party))
    for other in ("thief", None):
        status, challenge, _ = use(other, *bearer)
        assert (status, challenge.partition(",")[0]) == (401, 'Bearer error="invalid_token"')
    status, challenge, _ = use(party)
    assert (status, "error=" in challenge) == (401, False)
