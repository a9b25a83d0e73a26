"""A client that this project did not write: curl gets tokens by both versions of HTTP, openssl computes the binding."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority, Identity, dns
from tests.programs import require_program
from tests.running import Deployment, RunningServer, running


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("Client CA")


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    deployment = Deployment(tmp_path_factory.mktemp("curl"))
    deployment.trust("default", authority).client("c1", tls_client_auth_san_dns="c1.example")
    with running(deployment) as server:
        yield server


def curl(server: RunningServer, identity: Identity | None, *arguments: str) -> tuple[str, int, dict[str, object]]:
    """Run curl against the token endpoint; returns the HTTP version, the status and the JSON answer."""
    folder = server.deployment.folder
    certificate = []
    if identity is not None:
        pem, key = identity.write(folder / "curl", "client")
        certificate = ["--cert", str(pem), "--key", str(key)]
    command = [
        require_program("curl"), "--silent", "--show-error", "--cacert", str(folder / "server-ca.pem"), *certificate,
        "--write-out", "\n%{http_version} %{http_code}", *arguments,
        "--data", "grant_type=client_credentials&client_id=c1", f"{server.url}/token",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    body, _, last_line = done.stdout.rpartition("\n")
    version, status = last_line.split()
    return version, int(status), json.loads(body)


@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
@pytest.mark.parametrize("tls", ["--tls-max=1.2", "--tlsv1.3"])
def test_curl_gets_a_token(server: RunningServer, authority: Authority, option: str, version: str, tls: str) -> None:
    """Both versions of HTTP over both versions of TLS; the thumbprint is what openssl says it is (RFC 8705 §3.1)."""
    identity = authority.issue(san=[dns("c1.example")])
    tls_options = tls.split("=")
    spoken, status, answer = curl(server, identity, option, *tls_options)
    assert (spoken, status, answer["token_type"]) == (version, 200, "Bearer")
    payload = str(answer["access_token"]).split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["cnf"] == {"x5t#S256": openssl_thumbprint(server.deployment.folder / "curl" / "client.pem")}


def test_curl_is_refused(server: RunningServer) -> None:
    """Another CA's certificate with the same name, and no certificate at all."""
    stranger = Authority.create("Another CA").issue(san=[dns("c1.example")])
    for identity, reason in ((stranger, "untrusted_issuer"), (None, "no_certificate")):
        _, status, answer = curl(server, identity, "--http2")
        assert (status, answer["error"]) == (401, "invalid_client")
        assert server.last_event.refusal == reason
        assert reason not in json.dumps(answer)


def openssl_thumbprint(pem: Path) -> str:
    """`openssl x509 -outform DER | openssl dgst -sha256`, in base64url without padding."""
    openssl = require_program("openssl")
    der = subprocess.run([openssl, "x509", "-in", pem, "-outform", "DER"], capture_output=True, check=True).stdout
    command = [openssl, "dgst", "-sha256", "-binary"]
    digest = subprocess.run(command, input=der, capture_output=True, check=True).stdout
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
