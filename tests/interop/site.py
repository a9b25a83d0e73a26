"""An authorization server and a resource server, each a process of its own as an operator runs it, and their parties.

The issuer is the URL of the public listener, which asks for no certificate; `mtls_endpoint_aliases` lead on.
"""

import base64
import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtls_as.rfc.rfc7517_jwk import public_jwk
from tests.authority import Authority, Identity, dns, self_signed
from tests.cli import workplace
from tests.cli.workplace import ROOT, Workplace, free_ports

ALGORITHMS = ("ES256", "PS256", "EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87")
EXAMPLES = ROOT / "docs" / "examples"
START_SECONDS = 20.0


@dataclass
class Site:
    """Where everything is. A party's certificate and key stand in `<party>.pem` and `<party>-key.pem`."""

    folder: Path
    public_port: int
    mtls_port: int
    resource_port: int
    authority: Authority = field(default_factory=lambda: Authority.create("Example CA"))
    parties: dict[str, Identity] = field(default_factory=dict)
    lifetime: int = 300
    """Seconds that tokens live."""

    @classmethod
    def make(cls, folder: Path, *, lifetime: int = 300) -> "Site":
        """Write certificates, keys, the configuration and the database."""
        site = cls(folder, *free_ports(3), lifetime=lifetime)
        (folder / "ca.pem").write_text(site.authority.pem)
        site.authority.issue_server("localhost").write(folder, "server")
        for party in ("c1", "dpop", "rs", "thief"):
            site.parties[party] = site.authority.issue(party, san=[dns(f"{party}.example")])
        site.parties["own"] = self_signed("own")
        for party, identity in site.parties.items():
            identity.write(folder, party)
        (folder / "config.toml").write_text(site._configuration())
        Workplace(folder, site.mtls_port, site.resource_port).succeed("init")
        return site

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.public_port}"

    @property
    def mtls_url(self) -> str:
        return f"https://localhost:{self.mtls_port}"

    @property
    def resource(self) -> str:
        """The resource server's URL, which is also its identifier and so the audience of its tokens."""
        return f"https://localhost:{self.resource_port}"

    @property
    def ca(self) -> str:
        """The PEM file of the one CA."""
        return self.path("ca.pem")

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def files(self, party: str) -> tuple[str, str]:
        """The PEM files of a party's certificate and key."""
        return self.path(f"{party}.pem"), self.path(f"{party}-key.pem")

    def context(self, party: str | None = None) -> ssl.SSLContext:
        """A client's TLS: trusts the CA, presents the party's certificate."""
        context = ssl.create_default_context(cafile=self.ca)
        if party is not None:
            context.load_cert_chain(*self.files(party))
        return context

    def thumbprint(self, party: str) -> str:
        """`x5t#S256` of a party's certificate, as openssl computes it."""
        der = subprocess.run(
            ["openssl", "x509", "-in", self.files(party)[0], "-outform", "DER"], capture_output=True, check=True
        ).stdout
        digest = subprocess.run(
            ["openssl", "dgst", "-sha256", "-binary"], input=der, capture_output=True, check=True
        ).stdout
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Both servers, until the block ends."""
        with workplace.running("serve", cwd=self.folder) as server:
            server.wait_until_listening(self.mtls_port)
            log, bind = self.folder / "resource-server-log", f"127.0.0.1:{self.resource_port}"
            with resource_server(self, "dpop", log, issuer=self.issuer, audience=self.resource, bind=bind):
                yield
            assert server.end(signal.SIGTERM) == 0, server.errors
            assert "Traceback" not in server.errors, server.errors

    def own_jwk(self) -> dict[str, Any]:
        """The key of the self-signed client, with its certificate (RFC 8705 §2.2.2)."""
        own = self.parties["own"]
        members = dict(public_jwk(own.certificate.public_key(), kid="own", algorithm="ES256"))  # type: ignore[arg-type] # a P-256 key
        return members | {"x5c": [base64.b64encode(own.der).decode()]}

    def _configuration(self) -> str:
        jwk = ", ".join(f"{name} = {json.dumps(value)}" for name, value in self.own_jwk().items())
        resources = "".join(
            f'[[resources]]\nidentifier = "https://{name.lower()}.example"\nscopes = ["samples:read"]\n'
            f'algorithm = "{name}"\n'
            for name in ALGORITHMS
        )
        return f"""issuer = "{self.issuer}"
[tls]
certificate = "server.pem"
private_key = "server-key.pem"
[listeners.mtls]
bind = "127.0.0.1:{self.mtls_port}"
url = "{self.mtls_url}"
[listeners.public]
bind = "127.0.0.1:{self.public_port}"
[storage]
url = "sqlite:///site.db"
encryption_key_file = "site.key"
[tokens]
lifetime = {self.lifetime}
[trust.default]
anchors = ["ca.pem"]
[[resources]]
identifier = "{self.resource}"
scopes = ["reports:read", "reports:write"]
introspection_clients = ["rs"]
{resources}
[[clients]]
client_id = "c1"
trust = "default"
token_endpoint_auth_method = "tls_client_auth"
tls_client_auth_san_dns = "c1.example"
scope = "reports:read samples:read"
[[clients]]
client_id = "dpop"
trust = "default"
token_endpoint_auth_method = "tls_client_auth"
tls_client_auth_san_dns = "dpop.example"
scope = "reports:read"
dpop_bound_access_tokens = true
[[clients]]
client_id = "rs"
trust = "default"
token_endpoint_auth_method = "tls_client_auth"
tls_client_auth_san_dns = "rs.example"
[[clients]]
client_id = "own"
token_endpoint_auth_method = "self_signed_tls_client_auth"
scope = "reports:read"
jwks = {{ keys = [{{ {jwk} }}] }}
"""


@contextlib.contextmanager
def resource_server(
    site: Site, example: str, log: Path, *, issuer: str, audience: str, bind: str = "127.0.0.1:0"
) -> Iterator[str]:
    """An example of the documentation as a process, until the block ends; yields its URL."""
    certificate, key = site.files("server")
    environment = os.environ | {
        "ISSUER": issuer, "AUDIENCE": audience, "URL": audience, "CA": site.ca,
        "BIND": bind, "CERTIFICATE": certificate, "PRIVATE_KEY": key,
    }  # fmt: skip
    command = [sys.executable, str(EXAMPLES / f"{example}_resource_server.py")]
    with started(command, environment, log, r"listening on .*:(\d+)") as port:
        yield f"https://localhost:{port}"


@contextlib.contextmanager
def started(command: list[str], environment: dict[str, str], log: Path, ready: str) -> Iterator[str]:
    """A process until the block ends; yields what the group of `ready` matched in the log as soon as it does."""
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, cwd=log.parent, stdout=output, stderr=output)
    try:
        until = time.monotonic() + START_SECONDS
        while not (found := re.search(ready, log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)
    assert "Traceback" not in log.read_text(), log.read_text()
