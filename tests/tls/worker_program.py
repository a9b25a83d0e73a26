"""A program with several workers, for the tests of `run_workers`: prints the supervisor's steps, serves until stopped.

Arguments: port, folder with `server.pem` and `server-key.pem`, number of workers.
"""

import asyncio
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from mtls_as.tls import (
    Listener,
    ServerCredentials,
    Timeouts,
    bind_listeners,
    run_workers,
    serve_listeners,
    shutdown_on_signals,
)
from tests.tls.apps import answer, http


@http
async def tell_process(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the worker's process id; `/die` ends it, `/slow` takes its time."""
    if scope["path"] == "/die":
        os._exit(3)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.7)
    await answer(send, str(os.getpid()).encode())


def listeners(port: int) -> list[Listener]:
    return [Listener(name="mtls", bind=f"127.0.0.1:{port}", app=tell_process, request_certificate=True)]


def load(folder: Path) -> ServerCredentials:
    return ServerCredentials.load(folder / "server.pem", folder / "server-key.pem")


def work(port: int, folder: Path, sockets: list[Any]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if (folder / "broken").exists():
        sys.exit(7)

    async def run() -> None:
        await serve_listeners(
            listeners(port),
            sockets,
            load(folder),
            timeouts=Timeouts(shutdown=2),
            shutdown=shutdown_on_signals(),
            reload=partial(load, folder),
        )

    asyncio.run(run())


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port, folder, workers = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    run_workers(workers, bind_listeners(listeners(port)), partial(work, port, folder), grace=5)
    sys.stderr.write("all workers have ended\n")


if __name__ == "__main__":
    main()
