"""A whole authorization server for tests: real configuration file, storage, TLS and HTTP, on loopback ports.

It runs in a thread of this process, so that a test can read its events; processes of their own are for the tests of the
command line.
"""

import asyncio
import contextlib
import os
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import AF_UNIX
from typing import Any, Self

import httpx

from mtls_as.config import load_settings
from mtls_as.server.events import ReloadEvent, RequestEvent
from mtls_as.server.signing_keys import generate_signing_key
from mtls_as.storage import create_key_file, open_storage, upgrade
from mtls_as.tls import bind_listeners, serve_listeners
from mtls_as.wiring import Node, Reloader, open_node, read_settings
from tests.authority import Authority, Identity
from tests.programs import HTTP1_VARIABLE

RESOURCE = "https://resource.example"
SCOPES = ("reports:read", "reports:write")
START_SECONDS = 10.0


@dataclass
class Deployment:
    """The files of one server: a folder with a configuration, and the authorities behind it."""

    folder: Path
    server_authority: Authority = field(default_factory=lambda: Authority.create("Server CA"))
    sections: list[str] = field(default_factory=list)
    public: str | None = None
    """The URL of the public listener, if there is to be one; its port is another one all the same."""
    admin: bool = False
    admin_options: str = ""
    """Further lines of `[listeners.admin]`."""
    admin_port: int = 0
    admin_resource: str | None = None
    """The resource of the administration, if there is to be one; its scope is declared with it."""
    proxy: str | None = None
    """The lines of `[listeners.proxy]`, if there is to be one."""
    issuer: str = "https://localhost:8443"
    algorithm: str = "ES256"
    lifetime: int = 300
    fast_lane: bool = True
    http1: str = field(default_factory=lambda: os.environ.get(HTTP1_VARIABLE, "direct"))
    """As the option `--http1` of the tests says, unless a test is about it."""
    token_options: str = ""
    """Further lines of `[tokens]`."""
    resource_options: str = ""
    """Further lines of the usual resource."""
    port: int = 0
    """Of the mTLS listener; 0 for any."""
    workers: int = 1
    storage_url: str = "sqlite:///test.db"
    storage_options: str = ""
    """Further lines of `[storage]`."""
    drain: float = 0.0

    def trust(self, name: str, *authorities: Identity, options: str = "") -> Self:
        """Add a trust domain whose anchors are these certificates."""
        anchors = []
        for index, authority in enumerate(authorities):
            file = self.folder / f"anchor-{name}-{index}.pem"
            file.write_text(authority.pem)
            anchors.append(file.name)
        self.sections.append(f"[trust.{name}]\nanchors = {anchors!r}\n{options}")
        return self

    def client(self, client_id: str, *, scope: str | None = "reports:read", **members: object) -> Self:
        """Declare a client; `members` are TOML values, `token_endpoint_auth_method` is `tls_client_auth` by default."""
        members = {"token_endpoint_auth_method": "tls_client_auth"} | ({"scope": scope} if scope else {}) | members
        if members["token_endpoint_auth_method"] == "tls_client_auth":
            members.setdefault("trust", "default")
        lines = [f"{name} = {_toml(value)}" for name, value in members.items()]
        self.sections.append("\n".join(["[[clients]]", f"client_id = {_toml(client_id)}", *lines]))
        return self

    def resource(self, identifier: str, *scopes: str, options: str = "") -> Self:
        """Declare a resource beside the usual one."""
        lines = ["[[resources]]", f"identifier = {_toml(identifier)}", f"scopes = {_toml(list(scopes))}", options]
        self.sections.append("\n".join(lines))
        return self

    @property
    def path(self) -> Path:
        return self.folder / "config.toml"

    def write(self) -> Path:
        """Write certificates, keys, database and `config.toml`; returns the path of the latter."""
        self.server_authority.write(self.folder, "server-ca")
        self.server_authority.issue_server("localhost", "127.0.0.1").write(self.folder, "server")
        self.configure()
        if not (self.folder / "test.key").exists():
            self._initialise()
        return self.path

    def configure(self) -> None:
        """Write `config.toml` alone, as for a server that runs."""
        public = f'[listeners.public]\nbind = "127.0.0.1:0"\nurl = "{self.public}"\n' if self.public else ""
        admin = f'[listeners.admin]\nbind = "127.0.0.1:{self.admin_port}"\n{self.admin_options}\n' if self.admin else ""
        admin += f'resource = "{self.admin_resource}"\n' if self.admin_resource else ""
        proxy = f"[listeners.proxy]\n{self.proxy}\n" if self.proxy else ""
        head = f"""issuer = "{self.issuer}"
[tls]
certificate = "server.pem"
private_key = "server-key.pem"
[listeners.mtls]
bind = "127.0.0.1:{self.port}"
{public}{admin}{proxy}
[storage]
url = "{self.storage_url}"
encryption_key_file = "test.key"
{self.storage_options}
[tokens]
algorithm = "{self.algorithm}"
lifetime = {self.lifetime}
{self.token_options}
[server]
workers = {self.workers}
fast_lane = {_toml(self.fast_lane)}
http1 = "{self.http1}"
[timeouts]
handshake = 3
request_head = 3
idle = 20
shutdown = 3
drain = {self.drain}
[[resources]]
identifier = "{RESOURCE}"
scopes = {list(SCOPES)!r}
{self.resource_options}
"""
        self.path.write_text("\n".join([head, *self.sections]))

    def _initialise(self) -> None:
        key = create_key_file(self.folder / "test.key")
        url = load_settings(self.path).storage.url
        upgrade(url)

        async def add_key() -> None:
            storage = open_storage(url, encryption_key=key, clock=time.time)
            now = time.time()
            for algorithm in load_settings(self.path).keys.algorithms:
                signing_key = generate_signing_key(algorithm, created_at=now, activates_at=now)
                await storage.signing_keys.add(signing_key)
            await storage.close()

        asyncio.run(add_key())


@dataclass
class RunningServer:
    """A server that runs, and what it said."""

    deployment: Deployment
    node: Node
    ports: Mapping[str, int]
    events: list[RequestEvent]
    loop: asyncio.AbstractEventLoop
    clock_offset: list[float]
    reloader: Reloader
    reloads: list[ReloadEvent]
    """Only those that were asked for, unless the server runs with `follow_files`."""

    @property
    def url(self) -> str:
        return f"https://localhost:{self.ports['mtls']}"

    @property
    def public_url(self) -> str:
        return f"https://localhost:{self.ports['public']}"

    @property
    def admin_url(self) -> str:
        return f"https://localhost:{self.ports['admin']}"

    @property
    def last_event(self) -> RequestEvent:
        return self.events[-1]

    def move_clock(self, seconds: float) -> None:
        """Let the server's clock jump."""
        self.clock_offset[0] += seconds

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def reload(self) -> ReloadEvent:
        """Have the server read everything again, as an administrator would."""
        event: ReloadEvent = self.call(self.reloader.reload("test"))
        return event

    def ssl_context(self, identity: Identity | None = None) -> ssl.SSLContext:
        """A client's TLS context: trusts the server, presents `identity`."""
        context = ssl.create_default_context(cadata=self.deployment.server_authority.pem)
        if identity is not None:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # the client must not spare the server a weak certificate
            stem = identity.certificate.fingerprint(_sha256()).hex()[:16]
            context.load_cert_chain(*identity.write(self.deployment.folder / "clients", stem))
        return context

    def client(self, identity: Identity | None = None) -> httpx.Client:
        """An HTTP client that presents `identity`."""
        return httpx.Client(verify=self.ssl_context(identity), base_url=self.url, trust_env=False)

    def proxy_client(self, identity: Identity | None = None, *, address: str | None = None) -> httpx.Client:
        """An HTTP client in the place of the proxy: presents `identity` where there is TLS, connects from `address`."""
        lines = self.deployment.proxy or ""
        tls = "proxy_certificates" in lines
        transport = httpx.HTTPTransport(
            verify=self.ssl_context(identity),
            local_address=address,
            uds=None if "proxy" in self.ports else lines.partition("unix:")[2].partition('"')[0],
        )
        place = f"{'https' if tls else 'http'}://localhost:{self.ports.get('proxy', 80)}"
        return httpx.Client(transport=transport, base_url=place, trust_env=False)

    def token(self, identity: Identity | None, client_id: str | None = "c1", **form: Any) -> httpx.Response:
        """One token request over a new connection."""
        with self.client(identity) as client:
            return client.post("/token", data=token_form(client_id, **form))


def token_form(client_id: str | None = "c1", **form: Any) -> dict[str, Any]:
    """The form of a client credentials request; None leaves a parameter out."""
    fields = {"grant_type": "client_credentials", "client_id": client_id} | form
    return {name: value for name, value in fields.items() if value is not None}


@contextlib.contextmanager
def running(deployment: Deployment, *, follow_files: float | None = None) -> Iterator[RunningServer]:
    """Start the server of a deployment, and stop it gracefully at the end.

    With `follow_files` it looks every so many seconds whether its files have changed.
    """
    settings, looked = read_settings(deployment.write())
    started, box, events, reloads = threading.Event(), _Box(), list[RequestEvent](), list[ReloadEvent]()
    offset = [0.0]

    async def main() -> None:
        box.stop = asyncio.Event()
        box.loop = asyncio.get_running_loop()
        async with open_node(settings, emit=events.append, clock=lambda: time.time() + offset[0]) as node:
            listeners = node.listeners()
            sockets = bind_listeners(listeners)
            places = zip(listeners, sockets, strict=True)
            ports = {each.name: s.getsockname()[1] for each, s in places if s.family is not AF_UNIX}
            reloader = Reloader(node, looked=looked, asked=asyncio.Event(), note=reloads.append)
            box.server = RunningServer(deployment, node, ports, events, box.loop, offset, reloader, reloads)
            following = asyncio.create_task(reloader.follow(every=follow_files)) if follow_files else None
            await serve_listeners(
                listeners,
                sockets,
                node.credentials,
                timeouts=settings.timeouts,
                shutdown=box.stop,
                on_handshake_failure=node.handshake_failed,
                on_handshake=node.foundation.metrics.count_handshake,
                population=node.population,
                hand_over=reloader.attach,
                started=started.set,
                stopping=node.foundation.stopping.set,
            )
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    thread = threading.Thread(target=_run, args=(main, box, started), daemon=True)
    thread.start()
    if not started.wait(START_SECONDS) or box.server is None:
        raise box.error or TimeoutError("the server did not start")
    try:
        yield box.server
    finally:
        assert box.loop is not None
        assert box.stop is not None
        box.loop.call_soon_threadsafe(box.stop.set)
        thread.join(START_SECONDS)
        assert not thread.is_alive(), "the server did not stop"
    if box.error is not None:
        raise box.error


@dataclass
class _Box:
    server: RunningServer | None = None
    loop: asyncio.AbstractEventLoop | None = None
    stop: asyncio.Event | None = None
    error: BaseException | None = None


def _run(main: Callable[[], Coroutine[Any, Any, None]], box: _Box, started: threading.Event) -> None:
    try:
        asyncio.run(main())
    except BaseException as error:  # noqa: BLE001 # handed to the test's own thread
        box.error = error
    finally:
        started.set()


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return "'''" + value + "'''"
        case dict():
            return "{" + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case _:
            return str(value)


def _sha256() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()
