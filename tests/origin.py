"""An HTTP server for tests, on a loopback port: what it answers is up to the test, and it counts who came."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

Answer = tuple[int, bytes]


@dataclass
class Origin:
    """Serves `http://127.0.0.1:<port>` within its block; `answers` maps paths to functions of the request's body."""

    answers: dict[str, Callable[[bytes], Answer]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """The paths that were asked for, in order."""
    connections: int = 0

    def serve(self, path: str, body: bytes, status: int = 200) -> str:
        """Let a path answer with these octets; returns its URL."""
        self.answers[path] = lambda _: (status, body)
        return self.url + path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                origin.requests.append(self.path)
                answer = origin.answers.get(self.path)
                status, content = answer(body) if answer else (404, b"")
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _answer  # noqa: N815 # the names are the base class's

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the name is the base class's
                pass

        class Server(ThreadingHTTPServer):
            def get_request(self) -> tuple[socket.socket, object]:
                origin.connections += 1
                return super().get_request()

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that went away

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
