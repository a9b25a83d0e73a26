"""What a node takes over from the storage while it runs, even if not everything there can be read."""

import asyncio
import secrets
import time
from pathlib import Path

import pytest

from mtls_as.server.clients import ClientSource, parse_client
from mtls_as.server.events import ReloadOutcome
from mtls_as.server.signing_keys import generate_signing_key
from mtls_as.server.spiffe_federation import Federation
from mtls_as.storage import DatabaseUnavailable, EncryptionKey, EncryptionKeyError, open_storage
from mtls_as.wiring import Node, Reloader, open_node, read_settings
from tests.authority import Authority
from tests.running import Deployment

ROOT = Authority.create("Root")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    deployment = Deployment(tmp_path).trust("default", ROOT)
    deployment.write()
    return deployment


async def add_client(node: Node) -> None:
    members = {
        "client_id": "stored",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": "CN=stored",
        "trust": "default",
    }
    await node.storage.clients.add(parse_client(members, ClientSource.STORAGE))


async def is_enabled(node: Node) -> bool:
    client = await node.generation.clients.find("stored")
    return client is not None and client.enabled


async def test_a_key_that_cannot_be_read_does_not_keep_a_disabled_client_alive(deployment: Deployment) -> None:
    """It may be of a kind that only the newer nodes of an upgrade know: the keys stay, all else is followed."""
    settings, _ = read_settings(deployment.path)
    async with open_node(settings, emit=lambda _event: None) as node:
        await add_client(node)
        await node.foundation.refresh()
        assert await is_enabled(node)
        other = open_storage(
            settings.storage.url,
            encryption_key=EncryptionKey(secret=secrets.token_bytes(32), origin="other"),
            clock=time.time,
        )
        now = time.time()
        await other.signing_keys.add(generate_signing_key("ES256", created_at=now, activates_at=now))
        await other.clients.set_enabled("stored", enabled=False)
        await other.close()
        with pytest.raises(EncryptionKeyError):
            await node.storage.signing_keys.all()
        following = asyncio.create_task(node.follow_storage())
        try:
            async with asyncio.timeout(10):
                while await is_enabled(node):  # noqa: ASYNC110 # what is waited for tells nobody
                    await asyncio.sleep(0.05)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def test_following_goes_on_after_an_unforeseen_error(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would begin anew: until a restart, nothing that other processes write would count."""
    settings, _ = read_settings(deployment.path)
    async with open_node(settings, emit=lambda _event: None) as node:
        await add_client(node)
        await node.foundation.refresh()
        assert await is_enabled(node)
        refresh, failures = node.foundation.revocations.refresh, [RuntimeError("unforeseen")]

        async def fail_once() -> None:
            if failures:
                raise failures.pop()
            await refresh()

        monkeypatch.setattr(node.foundation.revocations, "refresh", fail_once)
        await node.storage.clients.set_enabled("stored", enabled=False)
        following = asyncio.create_task(node.follow_storage())
        try:
            async with asyncio.timeout(10):
                while await is_enabled(node):  # noqa: ASYNC110 # what is waited for tells nobody
                    await asyncio.sleep(0.05)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def test_a_silent_storage_keeps_nobody_from_a_reload(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new certificate of the server, or a longer `tolerated_outage`; only new clients need the storage."""
    deployment.client("c1", tls_client_auth_san_dns="c1.example")
    deployment.configure()
    settings, looked = read_settings(deployment.path)
    async with open_node(settings, emit=lambda _event: None) as node:

        async def fail(_client_id: str) -> None:
            raise DatabaseUnavailable("it is away")

        monkeypatch.setattr(node.storage.clients, "find", fail)
        reloader = Reloader(node, looked=looked, asked=asyncio.Event(), note=lambda _event: None)
        deployment.storage_options = "tolerated_outage = 7"
        deployment.configure()
        assert (await reloader.reload("test")).outcome is ReloadOutcome.SUCCEEDED
        assert node.foundation.contact.tolerated_outage == 7
        deployment.client("c2", tls_client_auth_san_dns="c2.example")
        deployment.configure()
        failed = await reloader.reload("test")
        assert (failed.outcome, failed.detail) == (ReloadOutcome.FAILED, "it is away")


async def test_bundles_are_followed_after_an_unforeseen_error(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an authority that a bundle no longer holds would be trusted until a restart."""
    settings, _ = read_settings(deployment.path)
    called, again = list[bool](), asyncio.Event()

    async def fail_once(_federation: Federation) -> None:
        called.append(True)
        if len(called) == 1:
            raise RuntimeError("unforeseen")
        again.set()

    monkeypatch.setattr(Federation, "refresh", fail_once)
    async with open_node(settings, emit=lambda _event: None) as node:
        following = asyncio.create_task(node.follow_bundles())
        try:
            async with asyncio.timeout(10):
                await again.wait()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
