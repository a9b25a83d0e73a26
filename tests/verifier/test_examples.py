"""The resource servers of the documentation run as they stand: discovery, keys, real TLS, a client certificate."""

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.authority import Authority
from tests.dpop import DPoPKey
from tests.remote.https_server import HTTPSServer, Request, answer
from tests.verifier.issuer import AUDIENCE, Issuer

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
AS = Issuer()
CLIENT_CA = Authority.create("Client CA")
MINE, THIEF = CLIENT_CA.issue("mine"), CLIENT_CA.issue("thief")


@contextmanager
def running(example: Path, server: HTTPSServer, folder: Path) -> Iterator[str]:
    certificate, key = server.authority.issue_server("localhost").write(folder, "server")
    (folder / "ca.pem").write_text(server.authority.pem)
    environment = os.environ | {
        "ISSUER": server.url, "AUDIENCE": AUDIENCE, "CA": str(folder / "ca.pem"), "BIND": "127.0.0.1:0",
        "CERTIFICATE": str(certificate), "PRIVATE_KEY": str(key),
    }  # fmt: skip
    with subprocess.Popen([sys.executable, example], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            yield f"https://localhost:{line.rpartition(':')[2].strip()}/reports"
        finally:
            process.terminate()
    assert process.returncode == 0


def issuer_server() -> HTTPSServer:
    """The metadata and the keys of the issuer, at the issuer's own URL."""

    def reply(request: Request) -> bytes:
        return answer(AS.jwks if request.path == "/jwks" else {"issuer": server.url, "jwks_uri": server.url + "/jwks"})

    server = HTTPSServer(reply)
    return server


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*_resource_server.py")), ids=lambda path: path.stem)
def test_example(example: Path, tmp_path: Path) -> None:
    """200 with the token's own certificate, 401 with another; at most 40 lines."""
    assert len(example.read_text().splitlines()) <= 40

    server = issuer_server()
    with server, running(example, server, tmp_path) as url:
        now = int(time.time())
        token = AS.token(MINE.der, iss=server.url, iat=now, exp=now + 60)
        statuses = []
        for identity in (MINE, THIEF):
            context = ssl.create_default_context(cadata=server.authority.pem)
            context.load_cert_chain(*identity.write(tmp_path, "client"))
            response = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, verify=context, trust_env=False)
            statuses.append(response.status_code)
        assert statuses == [200, 401]


def test_the_example_with_dpop(tmp_path: Path) -> None:
    """200 with a proof by the token's own key, without any certificate; 401 with another's, or the same again."""
    own, thief = DPoPKey(), DPoPKey()
    server = issuer_server()
    with server, running(EXAMPLES / "dpop_resource_server.py", server, tmp_path) as url:
        now = int(time.time())
        token = AS.token(None, iss=server.url, iat=now, exp=now + 60, cnf={"jkt": own.thumbprint})
        context = ssl.create_default_context(cadata=server.authority.pem)
        proof = own.proof("GET", "https://localhost:8445/reports", token=token)
        stolen = thief.proof("GET", "https://localhost:8445/reports", token=token)
        answers = [
            httpx.get(url, headers={"Authorization": f"DPoP {token}", "DPoP": sent}, verify=context, trust_env=False)
            for sent in (stolen, proof, proof)
        ]
        assert [answer.status_code for answer in answers] == [401, 200, 401]
        assert answers[1].json() == {"client": "reports", "key": own.thumbprint, "certificate": None}
