"""A resource server for tests: any ASGI application under `mtls_as.tls`, in a thread, on a loopback port."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtls_as.tls import Listener, ServerCredentials, bind_listeners, serve_listeners
from tests.authority import Authority


@contextlib.contextmanager
def serving(app: Any, authority: Authority, folder: Path) -> Iterator[str]:
    """Serve `app` with a certificate of `authority` for localhost; yields its URL."""
    credentials = ServerCredentials.load(*authority.issue_server("localhost").write(folder, "resource"))
    listener = Listener(name="api", bind="127.0.0.1:0", app=app, request_certificate=True)
    sockets = bind_listeners([listener])
    started, box = threading.Event(), dict[str, Any]()

    async def main() -> None:
        box["stop"], box["loop"] = asyncio.Event(), asyncio.get_running_loop()
        await serve_listeners([listener], sockets, credentials, shutdown=box["stop"], started=started.set)

    port = sockets[0].getsockname()[1]
    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield f"https://localhost:{port}"
    finally:
        box["loop"].call_soon_threadsafe(box["stop"].set)
        thread.join(10)
        assert not thread.is_alive()
