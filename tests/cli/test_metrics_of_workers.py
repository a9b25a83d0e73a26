"""Several workers, one `/metrics`: whichever of them is scraped tells what all of them counted."""

import re
import ssl
import tempfile
from pathlib import Path

import httpx
import pytest

from tests.cli.workplace import Process, Workplace, free_ports

REQUESTS = 40


def request_count(text: str) -> float:
    [value] = re.findall(r"^mtls_as_tokens_issued_total\{.*\} ([0-9.]+)$", text, re.MULTILINE)
    return float(value)


@pytest.mark.slow
def test_every_worker_tells_the_same(workplace: Workplace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Counted by two processes, added up by both."""
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("TMPDIR", str(shared))
    monkeypatch.setattr(tempfile, "tempdir", None)
    [admin] = free_ports(1)
    workplace.edit("workers = 1", "workers = 2")
    workplace.edit("[storage]", f'[listeners.admin]\nbind = "127.0.0.1:{admin}"\n\n[storage]')
    context = ssl.create_default_context(cafile=workplace.path("certs/ca.pem"))
    own = ssl.create_default_context(cafile=workplace.path("certs/ca.pem"))
    own.load_cert_chain(workplace.path("certs/reports.pem"), workplace.path("certs/reports-key.pem"))
    form = {"grant_type": "client_credentials", "client_id": "reports"}

    def scrape() -> str:
        return httpx.get(f"https://localhost:{admin}/metrics", verify=context, trust_env=False, timeout=20).text

    with workplace.serving() as server:
        for _ in range(REQUESTS):
            url = f"https://localhost:{workplace.port}/token"
            assert httpx.post(url, data=form, verify=own, trust_env=False, timeout=20).status_code == 200
        assert {request_count(scrape()) for _ in range(12)} == {REQUESTS}
        assert "mtls_as_trust_generation 1.0" in scrape()
        pids = workers_of(server)
        assert len(pids) == 2
        folder, *_ = shared.glob("mtls-as-metrics-*")
        assert {int(re.findall("[0-9]+", file.stem)[-1]) for file in folder.glob("counter_*.db")} <= pids
    assert not list(shared.glob("mtls-as-metrics-*")), "the folder ends with the server"


def workers_of(server: Process) -> set[int]:
    """The processes that this one spawned to serve."""
    found = set[int]()
    for status in Path("/proc").glob("[0-9]*/stat"):
        fields = status.read_text().rpartition(")")[2].split()
        command = (status.parent / "cmdline").read_bytes()
        if int(fields[1]) == server.child.pid and b"multiprocessing" in command and b"resource_tracker" not in command:
            found.add(int(status.parent.name))
    return found
