"""Status lists with servers in processes of their own: nothing is forgotten by one that is killed."""

import asyncio
import signal
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mtls_as.rfc.rfc7468_pem import certificate_der
from mtls_as.server.status_lists import SETTLE_SECONDS
from mtls_as.verifier import AccessTokenVerifier, InvalidToken, TokenRefusal
from tests.cli.workplace import Process, Workplace, running
from tests.end_to_end.conftest import fresh_database

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def workplace(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workplace]:
    with fresh_database(request.param, request) as storage:
        workplace = Workplace.make(tmp_path, storage=storage)
        workplace.edit("status_list = false", "status_list = true")
        yield workplace


def fetch(workplace: Workplace, client_id: str) -> str:
    """A token, by one request."""
    context = ssl.create_default_context(cafile=workplace.path("certs/ca.pem"))
    context.load_cert_chain(workplace.path(f"certs/{client_id}.pem"), workplace.path(f"certs/{client_id}-key.pem"))
    form = {"grant_type": "client_credentials", "client_id": client_id, "scope": "reports:read"}
    with httpx.Client(verify=context, trust_env=False, timeout=20) as client:
        response = client.post(f"{workplace.issuer}/token", data=form)
    assert response.status_code == 200, response.text
    return str(response.json()["access_token"])


def revoked(workplace: Workplace, *tokens: tuple[str, str]) -> list[bool]:
    """Whether a resource server that has no list yet finds the tokens of these clients revoked."""

    async def judge() -> list[bool]:
        verifier = AccessTokenVerifier(
            issuer=workplace.issuer,
            audience=f"https://localhost:{workplace.resource_port}",
            ssl_context=ssl.create_default_context(cafile=workplace.path("certs/ca.pem")),
        )
        found = []
        for client_id, token in tokens:
            certificate = certificate_der((workplace.folder / "certs" / f"{client_id}.pem").read_text())
            try:
                await verifier.verify(token, certificate=certificate)
                found.append(False)
            except InvalidToken as error:
                if error.reason is not TokenRefusal.REVOKED:
                    raise
                found.append(True)
        return found

    return asyncio.run(judge())


def test_a_killed_server_forgets_no_token(workplace: Workplace) -> None:
    """One that was issued right before, and never written down, ends with its client; what was written down tells."""
    with running("serve", cwd=workplace.folder) as server:
        server.wait_until_listening(workplace.port)
        fetch(workplace, "billing")
        time.sleep(2.5)
        written = [(name, fetch(workplace, name)) for name in ("reports", "billing")]
        time.sleep(2.5)
        lost = ("reports", fetch(workplace, "reports"))
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
    with workplace.serving():
        assert revoked(workplace, *written, lost) == [False, False, False]
        workplace.succeed("revoke", "client", "reports")
        time.sleep(SETTLE_SECONDS + 2)
        fresh = ("reports", fetch(workplace, "reports"))
        assert revoked(workplace, *written, lost, fresh) == [True, False, True, False]


def test_processes_tell_each_other(workplace: Workplace) -> None:
    """Two workers, one database: whichever issued a token and whichever makes the list."""
    workplace.edit("workers = 1", "workers = 2")
    with workplace.serving() as server:
        assert isinstance(server, Process)
        tokens = [(name, fetch(workplace, name)) for _ in range(6) for name in ("reports", "billing")]
        workplace.succeed("revoke", "client", "reports")
        time.sleep(SETTLE_SECONDS + 2)
        assert revoked(workplace, *tokens) == [name == "reports" for name, _ in tokens]
        workplace.succeed("revoke", "token", input=tokens[1][1])
        time.sleep(1.1)
        assert revoked(workplace, *tokens[:4]) == [True, True, True, False]
