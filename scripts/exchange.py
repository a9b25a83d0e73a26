"""One exchange for people to see: two servers, a token bound to a certificate, and every wrong use of it refused."""

import argparse
import base64
import contextlib
import json
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import httpx

from mtls_as.config import ConfigurationError, Settings, load_settings
from mtls_as.rfc.rfc8414_metadata import metadata_url
from mtls_as.rfc.rfc8705_mtls import parse_confirmation, thumbprints_equal, x5t_s256

ROOT: Final = Path(__file__).parent.parent
START_SECONDS: Final = 30
STOP_SECONDS: Final = 15
_POLL_SECONDS: Final = 0.1

Child = subprocess.Popen[bytes]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, the curl line that repeats it, and what must come back."""

    title: str
    url: str
    certificate: str | None
    form: dict[str, str] | None = None
    token: str | None = None
    status: int
    expected: str

    def curl(self, certs: Path) -> str:
        """The command line; the token stands in `$TOKEN`."""
        here = relative(certs)
        words = ["curl", "-sS", "--cacert", f"{here / 'ca.pem'}"]
        if self.certificate:
            words += ["--cert", f"{here / self.certificate}.pem", "--key", f"{here / self.certificate}-key.pem"]
        for name, value in (self.form or {}).items():
            words += ["-d", f"{name}={value}"]
        line = shlex.join([*words, self.url])
        return line + ' -H "Authorization: Bearer $TOKEN"' if self.token else line

    def perform(self, certs: Path) -> httpx.Response:
        """Send the request over a connection of its own."""
        context = ssl.create_default_context(cafile=certs / "ca.pem")
        if self.certificate:
            context.load_cert_chain(certs / f"{self.certificate}.pem", certs / f"{self.certificate}-key.pem")
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        with httpx.Client(verify=context, trust_env=False, headers=headers) as client:
            return client.post(self.url, data=self.form) if self.form else client.get(self.url)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="scripts/run", description=__doc__)
    parser.add_argument("--check", action="store_true", help="end after the exchange: 0 if every step went as printed")
    parser.add_argument("--config", type=Path, default=ROOT / "config.toml", metavar="FILE")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(run(options.config, check_only=options.check))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (ConfigurationError, httpx.HTTPError, OSError) as error:
        give_up(str(error))


def run(config: Path, *, check_only: bool) -> int:
    """Start both servers, make the exchange, and serve on if asked to; returns the exit status."""
    if subprocess.run([*mtls_as(), "init", "--development", "--config", config], check=False).returncode:
        return 1
    settings = load_settings(config)
    certs = settings.folder / "certs"
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(started(*server)) for server in servers(settings)]
        differences = exchange(settings, certs)
        for difference in differences:
            say(f"NOT AS EXPECTED: {difference}")
        if differences:
            return 1
        say("\nEvery step went as expected.")
        if check_only:
            return 0
        say(f"{settings.issuer} and {settings.resources[0].identifier} keep serving; Ctrl-C ends them.")
        with contextlib.suppress(KeyboardInterrupt):
            wait_for_any(children)
            say("A server has ended.")
            return 1
        return 0


def servers(settings: Settings) -> Iterator[tuple[list[str], list[str]]]:
    """The command lines of both servers, each with the addresses it listens on."""
    listeners = [settings.listeners.mtls, settings.listeners.public]
    yield [*mtls_as(), "serve", "--config", str(settings.path)], [each.bind for each in listeners if each]
    identifier = settings.resources[0].identifier
    bind = f"127.0.0.1:{urlsplit(identifier).port}"
    demo = [sys.executable, str(ROOT / "scripts" / "demo_resource_server.py"), "--bind", bind]
    demo += ["--identifier", identifier, "--issuer", settings.issuer, "--ca", str(settings.folder / "certs" / "ca.pem")]
    demo += ["--certificate", str(settings.tls.certificate), "--private-key", str(settings.tls.private_key)]
    yield demo, [bind]


def exchange(settings: Settings, certs: Path) -> list[str]:
    """Print and perform every step; returns what was not as expected."""
    metadata = Call(
        title="A client reads where the authorization server gives out tokens",
        url=metadata_url(settings.issuer),
        certificate=None,
        status=200,
        expected="token_endpoint",
    )
    differences, document = perform(1, metadata, certs)
    if differences:
        return differences
    aliases = document.get("mtls_endpoint_aliases", {})
    ask = Call(
        title="The client reports asks for a token, with its certificate",
        url=aliases.get("token_endpoint", document["token_endpoint"]),
        certificate="reports",
        form={"grant_type": "client_credentials", "client_id": "reports"},
        status=200,
        expected="access_token",
    )
    differences, answer = perform(2, ask, certs)
    differences += differences or show_binding(answer["access_token"], certs / "reports.pem")
    if differences:
        return differences
    use = Call(
        title="It calls the resource server with the token, over a connection with the same certificate",
        url=f"{settings.resources[0].identifier}/reports",
        certificate="reports",
        token=answer["access_token"],
        status=200,
        expected="reports",
    )
    stolen = replace(use, status=401, expected="invalid_token")
    forged = replace(ask, status=401, expected="invalid_client")
    calls = [
        use,
        replace(
            stolen, title="The same token, stolen: over a connection with another certificate", certificate="billing"
        ),
        replace(stolen, title="The same token, over a connection without a certificate", certificate=None),
        replace(forged, title="The client billing asks for a token as reports", certificate="billing"),
        replace(
            forged, title="A certificate with the names of reports, from an unknown authority", certificate="other"
        ),
        replace(forged, title="Somebody asks for a token without a certificate", certificate=None),
    ]
    return [difference for number, call in enumerate(calls, 3) for difference in perform(number, call, certs)[0]]


def perform(number: int, call: Call, certs: Path) -> tuple[list[str], dict[str, Any]]:
    """Print a step, do it, print the outcome; returns what was not as expected, and the answer's document."""
    say(f"\n{number}. {call.title}")
    line = call.curl(certs)
    # The token's first appearance also puts it into the variable that the later lines use.
    if call.expected == "access_token":
        line = f'TOKEN=$({line} | sed \'s/.*"access_token": *"\\([^"]*\\)".*/\\1/\')'
    say(f"   $ {line}")
    response = call.perform(certs)
    try:
        document = response.json()
    except ValueError:
        document = {}
    shown = document | ({"signed_metadata": "…"} if "signed_metadata" in document else {})
    say(f"   {response.status_code} {json.dumps(shown, ensure_ascii=False)}")
    as_expected = response.status_code == call.status and call.expected in {*document, document.get("error")}
    if as_expected:
        return [], document
    return [f"step {number} should have answered {call.status} with {call.expected}"], {}


def show_binding(token: str, certificate: Path) -> list[str]:
    """Print whom the token is bound to; returns what was not as expected."""
    payload = token.split(".")[1]
    bound_to = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["cnf"]
    say(f'   Inside it: "cnf": {json.dumps(bound_to)}, which is the SHA-256 of {relative(certificate)}')
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    if thumbprints_equal(parse_confirmation(bound_to), x5t_s256(der)):
        return []
    return [f"the token should be bound to {certificate}"]


@contextlib.contextmanager
def started(command: Sequence[str], addresses: Sequence[str]) -> Iterator[Child]:
    """Run a server, wait until it accepts connections, and stop it in the end, whatever happened."""
    for address in addresses:
        # Otherwise the exchange could be made with somebody else's server while ours is still finding out.
        if is_listening(address):
            give_up(f"{address} is in use by another program; end that one, or change the port in the configuration")
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        wait_until_listening(child, addresses)
        yield child
    finally:
        stop(child)


def wait_until_listening(child: Child, addresses: Sequence[str]) -> None:
    """Poll until every address accepts connections."""
    for _ in range(int(START_SECONDS / _POLL_SECONDS)):
        if all(is_listening(address) for address in addresses):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            give_up(f"a server did not start: exit status {child.wait(_POLL_SECONDS)}")
    give_up(f"a server did not start within {START_SECONDS} seconds")


def is_listening(address: str) -> bool:
    """Whether something accepts connections at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1):
            return True
    except OSError:
        return False


def wait_for_any(children: Sequence[Child]) -> None:
    """Wait until one of the servers ends."""
    while True:
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.5)
                return


def stop(child: Child) -> None:
    """End a server gracefully, or by force if it takes too long."""
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def relative(path: Path) -> Path:
    """The path as people would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def mtls_as() -> list[str]:
    """The command line program of this very environment."""
    return [sys.executable, "-m", "mtls_as.cli"]


def say(line: str) -> None:
    """Print now, so that the servers' own lines stand at the right place."""
    print(line, flush=True)


def give_up(message: str) -> NoReturn:
    """End with a message."""
    print(f"scripts/run: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
