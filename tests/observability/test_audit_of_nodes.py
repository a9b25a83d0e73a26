"""What a whole server records, beside its requests."""

import asyncio
from pathlib import Path

from mtls_as.server.audit import AuditRecord
from mtls_as.server.audit_verification import verify_trail
from mtls_as.wiring.signing_keys import key_upkeep
from tests.authority import DAY, Authority, dns
from tests.running import Deployment, RunningServer, running

AUTHORITY = Authority.create("Partner CA")


def recorded(server: RunningServer) -> list[AuditRecord]:
    """All of it, the oldest first, once everything is written."""
    audit = server.node.foundation.audit
    assert audit is not None
    server.call(audit.flush())
    records: tuple[AuditRecord, ...] = server.call(server.node.storage.audit.list(limit=1_000))
    return list(reversed(records))


def test_a_key_that_a_server_makes_by_itself_is_recorded(tmp_path: Path) -> None:
    """With its name; the trail is whole."""
    made = Deployment(tmp_path)
    made.sections.append('[keys]\nrotate_every = "1d"\n')
    made.trust("default", AUTHORITY).client("c1", tls_client_auth_san_dns="c1.example")
    with running(made) as server:
        server.move_clock(3 * DAY.total_seconds())
        [key] = server.call(key_upkeep(server.node.foundation, lambda: server.node.settings).run())
        [record] = [record for record in recorded(server) if record.entry.kind == "key"]
        assert key.kid in record.entry.text
        storage = server.node.storage
        assert server.call(verify_trail(storage.audit, storage.audit.sealer)).damage is None


def test_a_reload_is_recorded(tmp_path: Path) -> None:
    made = Deployment(tmp_path).trust("default", AUTHORITY).client("c1", tls_client_auth_san_dns="c1.example")
    with running(made) as server:
        server.reload()
        [record] = [record for record in recorded(server) if record.entry.kind == "reload"]
    assert '"outcome":"succeeded"' in record.entry.text


def test_requests_go_on_while_the_trail_cannot_be_written(tmp_path: Path) -> None:
    """Events wait; afterwards they are all there, each once, in one chain."""
    made = Deployment(tmp_path).trust("default", AUTHORITY).client("c1", tls_client_auth_san_dns="c1.example")
    identity = AUTHORITY.issue("c1", san=[dns("c1.example")])
    with running(made) as server:
        (tmp_path / "test.db").rename(tmp_path / "away.db")
        server.call(asyncio.sleep(0))
        tokens = [server.token(identity).status_code for _ in range(5)]
        (tmp_path / "away.db").rename(tmp_path / "test.db")
        assert tokens == [200] * 5
        records = [record for record in recorded(server) if record.entry.kind == "token"]
        numbers = [record.link.sequence for record in records]
        assert len(records) == 5
        assert numbers == sorted(numbers)
