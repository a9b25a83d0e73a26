"""`[events]`: where a server that runs writes what happens, and in which form it says everything else."""

import json
import ssl

import httpx

from tests.cli.workplace import Workplace


def test_events_go_into_a_file_and_diagnostics_are_json(workplace: Workplace) -> None:
    """Standard output stays empty; logrotate moves the file while the server runs, and nothing is lost."""
    workplace.edit('file = "-"', 'file = "events.jsonl"')
    workplace.edit('diagnostics = "text"', 'diagnostics = "json"')
    context = ssl.create_default_context(cafile=workplace.path("certs/ca.pem"))
    context.load_cert_chain(workplace.path("certs/reports.pem"), workplace.path("certs/reports-key.pem"))
    form = {"grant_type": "client_credentials", "client_id": "reports"}
    file, moved = workplace.folder / "events.jsonl", workplace.folder / "events.jsonl-20261121"

    def ask() -> None:
        url = f"https://localhost:{workplace.port}/token"
        assert httpx.post(url, data=form, verify=context, trust_env=False, timeout=20).status_code == 200

    with workplace.serving() as server:
        ask()
        file.rename(moved)
        ask()
    lines = [json.loads(line) for each in (moved, file) if each.exists() for line in each.read_text().splitlines()]
    assert [line["client_id"] for line in lines] == ["reports", "reports"]
    assert server.output == ""
    told = [json.loads(line) for line in server.errors.splitlines()]
    assert "generation 1 is in force" in told[0]["message"]


def test_a_file_that_cannot_be_written_ends_the_start(workplace: Workplace) -> None:
    """Before anything listens, with one line."""
    workplace.edit('file = "-"', 'file = "missing/events.jsonl"')
    message = workplace.fail("serve")
    assert "events.file: " in message
    assert "No such file or directory" in message
