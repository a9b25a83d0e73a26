"""The audit trail in a database, on every kind of it: one chain, and whatever is done to it is found."""

import asyncio
import hmac
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from mtls_as.server.audit import AuditEntry, Checkpoint, CheckpointError, Link, Purpose, Sealer, next_link
from mtls_as.server.audit_verification import Damage, verify_trail
from mtls_as.server.ports import StorageUnavailable
from mtls_as.storage import EncryptionKey, Storage, downgrade, upgrade
from mtls_as.storage.schema import audit_ends as ends
from mtls_as.storage.schema import audit_records as records
from tests.storage.conftest import opened

OTHER_KEY = EncryptionKey(secret=b"o" * 32, origin="somebody else's")


def entries(count: int, *, start: float = 1_000.0, kind: str = "token", client_id: str = "c1") -> list[AuditEntry]:
    return [
        AuditEntry(at=start + i, kind=kind, client_id=client_id, text=f'{{"number": {i}, "who": "Zoë"}}')
        for i in range(count)
    ]


async def damage(storage: Storage, since: Checkpoint | None = None) -> Damage | None:
    return (await verify_trail(storage.audit, storage.audit.sealer, since=since)).damage


async def tamper(storage: Storage, *statements: Any) -> None:
    """What somebody does who can write to the database, and has no key."""
    async with storage._transactions.write_quietly() as connection:
        for statement in statements:
            await connection.execute(statement)


async def row(storage: Storage, sequence: int) -> dict[str, Any]:
    async with storage._transactions.read() as connection:
        found = await connection.execute(select(records).where(records.c.sequence == sequence))
        return dict(found.one()._mapping)


async def head_row(storage: Storage) -> dict[str, Any]:
    async with storage._transactions.read() as connection:
        return dict((await connection.execute(select(ends))).one()._mapping)


async def test_a_trail_without_records_is_whole(storage: Storage) -> None:
    verified = await verify_trail(storage.audit, storage.audit.sealer)
    assert (verified.damage, verified.count) == (None, 0)
    assert await storage.audit.list() == ()


def test_a_seal_is_the_mac_that_older_programs_make() -> None:
    """HMAC-SHA-256 of purpose, number and hash, so that trails go on whichever program wrote them."""
    link, secret = Link(17, b"h" * 32), b"s" * 32
    for purpose in Purpose:
        expected = hmac.digest(secret, f"{purpose} 17 ".encode() + link.hash, "sha256")
        assert Sealer(secret).seal(purpose, link) == expected


async def test_what_was_recorded_is_there_and_verifies(storage: Storage) -> None:
    """Also over several batches, and more than one page of the reader."""
    await storage.audit.append(entries(3))
    await storage.audit.append([])
    await storage.audit.append(entries(600, start=2_000))
    verified = await verify_trail(storage.audit, storage.audit.sealer)
    assert (verified.damage, verified.first, verified.last, verified.count) == (None, 1, 603, 603)
    newest, *_, oldest = await storage.audit.list(limit=603)
    assert newest.link.sequence == 603
    assert oldest.entry == entries(1)[0]


async def test_it_is_read_by_time_client_and_kind(storage: Storage) -> None:
    await storage.audit.append([*entries(3), *entries(2, client_id="c2"), *entries(1, kind="revocation", start=5_000)])

    async def found(**wanted: Any) -> list[int]:
        return [record.link.sequence for record in await storage.audit.list(**wanted)]

    assert await found(client_id="c2") == [5, 4]
    assert await found(kind="revocation") == [6]
    assert await found(since=1_002.0, until=5_000.0) == [3]
    assert await found(limit=2) == [6, 5]
    assert await found(limit=2, before=5) == [4, 3]


async def test_no_node_notices_a_record(storage: Storage) -> None:
    """The revision stays, so that no node reads anything anew."""
    before = await storage.revision()
    await storage.audit.append(entries(2))
    await storage.audit.prune(ended_before=2_000.0, keep=10)
    assert await storage.revision() == before


async def test_several_nodes_write_one_chain(url: str) -> None:
    """Each record follows the one before it, whoever wrote that."""
    async with opened(url) as first, opened(url) as second, opened(url) as third:
        nodes = [first, second, third]
        await asyncio.gather(
            *(
                node.audit.append(entries(5, client_id=f"node-{number}"))
                for _ in range(6)
                for number, node in enumerate(nodes)
            )
        )
        verified = await verify_trail(first.audit, first.audit.sealer)
        assert (verified.damage, verified.count) == (None, 90)
        by_node = [record.entry.client_id for record in await first.audit.list(limit=90)]
        assert {name: by_node.count(name) for name in by_node} == {"node-0": 30, "node-1": 30, "node-2": 30}


CHANGES = {
    "its content": {"record": '{"number": 3, "who": "Mallory"}'},
    "its client": {"client_id": "c2"},
    "its lack of a client": {"client_id": None},
    "its time": {"at": 1_003.5},
    "its kind": {"kind": "revocation"},
    "its hash": {"hash": bytes(32)},
    "its seal": {"seal": bytes(32)},
}


@pytest.mark.parametrize("values", CHANGES.values(), ids=CHANGES.keys())
async def test_a_changed_record_is_found(storage: Storage, values: dict[str, Any]) -> None:
    """The first one that is wrong is named."""
    await storage.audit.append(entries(8))
    await tamper(storage, update(records).where(records.c.sequence == 4).values(**values))
    found = await damage(storage)
    assert found is not None
    assert found.sequence == 4


async def test_a_removed_record_is_found(storage: Storage) -> None:
    await storage.audit.append(entries(8))
    await tamper(storage, delete(records).where(records.c.sequence == 4))
    assert await damage(storage) == Damage(sequence=4, problem="is missing")


async def test_records_in_another_order_are_found(storage: Storage) -> None:
    await storage.audit.append(entries(8))
    fourth, fifth = await row(storage, 4), await row(storage, 5)
    await tamper(
        storage,
        delete(records).where(records.c.sequence.in_([4, 5])),
        insert(records).values(**{**fourth, "sequence": 5}),
        insert(records).values(**{**fifth, "sequence": 4}),
    )
    found = await damage(storage)
    assert found is not None
    assert found.sequence == 4


async def test_an_inserted_record_is_found(storage: Storage) -> None:
    """In the place of one that was moved up, and behind the last."""
    await storage.audit.append(entries(8))
    eighth = await row(storage, 8)
    await tamper(storage, insert(records).values(**{**eighth, "sequence": 9}))
    assert await damage(storage) == Damage(sequence=9, problem="there are records behind the head")


async def test_a_cut_off_end_is_found(storage: Storage) -> None:
    """Without touching the head; and with a head that was put together from what the database holds."""
    await storage.audit.append(entries(8))
    await tamper(storage, delete(records).where(records.c.sequence > 5))
    assert await damage(storage) == Damage(sequence=6, problem="is missing, with all up to the head")
    fifth = await row(storage, 5)
    forged = {"head_sequence": 5, "head_hash": fifth["hash"], "head_seal": fifth["seal"]}
    await tamper(storage, update(ends).values(**forged))
    found = await damage(storage)
    assert found is not None
    assert "head" in found.problem


async def test_a_cut_off_beginning_is_found(storage: Storage) -> None:
    """An anchor cannot be made from what the database holds."""
    await storage.audit.append(entries(8))
    third = await row(storage, 3)
    forged = {"anchor_sequence": 3, "anchor_hash": third["hash"], "anchor_seal": third["seal"]}
    await tamper(storage, delete(records).where(records.c.sequence <= 3))
    assert await damage(storage) == Damage(sequence=1, problem="is missing")
    await tamper(storage, update(ends).values(**forged))
    found = await damage(storage)
    assert found is not None
    assert "begins was altered" in found.problem


async def test_a_chain_computed_anew_is_found(storage: Storage) -> None:
    """Hashes alone are nothing that somebody with the database could not make; the seals are."""
    await storage.audit.append(entries(8))
    sealer = Sealer(OTHER_KEY.derive(b"mtls-as audit trail"))
    link = (await storage.audit.find(3)).link  # type: ignore[union-attr] # it is there
    for sequence in range(4, 9):
        text = '{"forged": true}'
        entry = AuditEntry(at=1_000.0, kind="token", client_id="c1", text=text)
        link = next_link(link, entry)
        values = {"at": entry.at, "record": text, "hash": link.hash, "seal": sealer.seal(Purpose.RECORD, link)}
        await tamper(storage, update(records).where(records.c.sequence == sequence).values(**values))
    problem = "was written by someone who does not have the storage key"
    assert await damage(storage) == Damage(sequence=4, problem=problem)


async def test_an_older_head_put_back_is_found_by_a_server_that_runs(storage: Storage) -> None:
    """It has written more than the head says, and records that; nothing verifies from then on."""
    await storage.audit.append(entries(4))
    old = await head_row(storage)
    await storage.audit.append(entries(4))
    await tamper(storage, delete(records).where(records.c.sequence > 4), update(ends).values(**old))
    assert await damage(storage) is None, "which is why checkpoints are kept elsewhere"
    await storage.audit.append(entries(1))
    newest = await storage.audit.list(limit=2)
    assert [record.entry.kind for record in newest] == ["token", "break"]
    assert "set back" in newest[1].entry.text
    assert (await damage(storage)) is not None


async def test_an_altered_head_is_not_made_good_by_writing_on(url: str) -> None:
    """Also a server that has just started says so in the trail."""
    async with opened(url) as storage:
        await storage.audit.append(entries(8))
        fifth = await row(storage, 5)
        forged = {"head_sequence": 5, "head_hash": fifth["hash"], "head_seal": fifth["seal"]}
        await tamper(storage, delete(records).where(records.c.sequence > 5), update(ends).values(**forged))
    async with opened(url) as storage:
        await storage.audit.append(entries(1))
        found = await damage(storage)
        assert found == Damage(sequence=6, problem="was written because a server found the trail before it altered")


async def test_a_checkpoint_shows_what_the_database_cannot(storage: Storage) -> None:
    """The database put back as a whole, to an older state with its own head."""
    await storage.audit.append(entries(4))
    old, checkpoint = await head_row(storage), await storage.audit.checkpoint()
    await storage.audit.append(entries(4))
    later = await storage.audit.checkpoint()
    assert await damage(storage, checkpoint) is None
    assert await damage(storage, later) is None
    verified = await verify_trail(storage.audit, storage.audit.sealer, since=checkpoint)
    assert (verified.first, verified.last) == (5, 8)
    await tamper(storage, delete(records).where(records.c.sequence > 4), update(ends).values(**old))
    found = await damage(storage, later)
    assert found is not None
    assert (found.sequence, "the end is cut off" in found.problem) == (5, True)


async def test_a_checkpoint_is_of_this_trail(storage: Storage) -> None:
    """Not of another key, and not of a record that was there with another content."""
    await storage.audit.append(entries(4))
    checkpoint = await storage.audit.checkpoint()
    assert Checkpoint.parse(str(checkpoint)) == checkpoint
    other = Sealer(OTHER_KEY.derive(b"mtls-as audit trail")).seal(Purpose.CHECKPOINT, checkpoint.link)
    found = await damage(storage, Checkpoint(link=checkpoint.link, seal=other))
    assert found is not None
    assert "checkpoint was not made" in found.problem
    await tamper(storage, update(records).where(records.c.sequence == 4).values(hash=bytes(32)))
    found = await damage(storage, checkpoint)
    assert found is not None
    assert found.sequence == 4


async def test_a_forged_head_makes_no_checkpoint(storage: Storage) -> None:
    """Sealed by the server, and kept elsewhere, it would speak for what the server has never written."""
    await storage.audit.append(entries(4))
    await tamper(storage, update(ends).values(head_hash=bytes(32)))
    with pytest.raises(StorageUnavailable, match="head of the audit trail was altered"):
        await storage.audit.checkpoint()


@pytest.mark.parametrize("text", ["", "1", "1:2:3", f"-1:{'A' * 43}:{'A' * 43}", f"1:{'A' * 42}!:{'A' * 43}", "x" * 99])
def test_other_texts_are_no_checkpoints(text: str) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.parse(text)


async def test_pruning_keeps_the_rest_verifiable(storage: Storage) -> None:
    """By age and by number; a checkpoint of what is left is still good, and one of what is gone says why it is not."""
    await storage.audit.append(entries(10))
    old = await storage.audit.checkpoint()
    await storage.audit.append(entries(10, start=2_000))
    middle = await storage.audit.checkpoint()
    assert await storage.audit.prune(ended_before=2_000.0, keep=100) == 10
    verified = await verify_trail(storage.audit, storage.audit.sealer)
    assert (verified.damage, verified.first, verified.last) == (None, 11, 20)
    assert await damage(storage, old) is None, "it is the anchor"
    await storage.audit.append(entries(10, start=3_000))
    assert await storage.audit.prune(ended_before=0.0, keep=15) == 5
    verified = await verify_trail(storage.audit, storage.audit.sealer)
    assert (verified.damage, verified.first, verified.last) == (None, 16, 30)
    assert await damage(storage, middle) is None
    found = await damage(storage, old)
    assert found is not None
    assert "too old" in found.problem


async def test_pruning_takes_many_and_leaves_one(storage: Storage) -> None:
    """In pages; the last record stays, so that the head names something."""
    await storage.audit.append(entries(1_200))
    assert await storage.audit.prune(ended_before=1e12, keep=10_000) == 1_199
    assert [record.link.sequence for record in await storage.audit.list()] == [1_200]
    assert await storage.audit.prune(ended_before=1e12, keep=10_000) == 0
    assert await damage(storage) is None


async def test_what_was_forged_is_not_pruned(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    """The anchor would otherwise be made from it."""
    await storage.audit.append(entries(10))
    await tamper(storage, update(records).where(records.c.sequence == 5).values(seal=bytes(32)))
    assert await storage.audit.prune(ended_before=1_005.0, keep=100) == 0
    assert "no genuine seal" in caplog.text


async def test_records_made_old_are_not_pruned(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody with the database sets their times back, so that the server would forget them, and seal that."""
    await storage.audit.append(entries(10))
    await tamper(storage, update(records).where(records.c.sequence <= 8).values(at=1.0))
    assert await storage.audit.prune(ended_before=1_000.0, keep=100) == 0
    assert "was altered" in caplog.text
    assert await damage(storage) is not None


async def test_a_forged_head_prunes_nothing(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    """Of a trail that pretends to be long, all but the last would be forgotten; then the old head is put back."""
    await storage.audit.append(entries(10))
    genuine = await head_row(storage)
    await tamper(storage, update(ends).values(head_sequence=1_000_000))
    assert await storage.audit.prune(ended_before=0.0, keep=100) == 0
    assert "was altered" in caplog.text
    await tamper(storage, update(ends).values(**genuine))
    verified = await verify_trail(storage.audit, storage.audit.sealer)
    assert (verified.damage, verified.count) == (None, 10)


async def test_a_forged_beginning_prunes_nothing(storage: Storage) -> None:
    """What was taken away in front would else be hidden by an anchor that the server itself has sealed."""
    await storage.audit.append(entries(10))
    third = await row(storage, 3)
    forged = {"anchor_sequence": 3, "anchor_hash": third["hash"], "anchor_seal": third["seal"]}
    await tamper(storage, delete(records).where(records.c.sequence <= 3), update(ends).values(**forged))
    assert await storage.audit.prune(ended_before=1_006.0, keep=100) == 0
    assert await damage(storage) is not None


def test_no_two_contents_have_one_hash() -> None:
    """Where one member ends and the next begins counts."""

    def hashes(members: Sequence[tuple[str, str | None, str]]) -> set[bytes]:
        from mtls_as.server.audit import GENESIS

        made = (AuditEntry(at=1.0, kind=kind, client_id=client_id, text=text) for kind, client_id, text in members)
        return {next_link(GENESIS, entry).hash for entry in made}

    cuts = [(a, b) for a, b in itertools.product(range(1, 4), range(2, 6)) if a < b]
    assert len(hashes([("abcdef"[:a], "abcdef"[a:b], "abcdef"[b:]) for a, b in cuts])) == len(cuts)


async def test_an_older_schema_has_no_trail_and_a_newer_one_begins_it_anew(url: str) -> None:
    """The migration, down and up with records there."""
    async with opened(url) as storage:
        await storage.audit.append(entries(3))
    await asyncio.to_thread(downgrade, url, "0006")
    await asyncio.to_thread(upgrade, url)
    async with opened(url) as storage:
        assert await storage.audit.list() == ()
        await storage.audit.append(entries(2))
        assert await damage(storage) is None
