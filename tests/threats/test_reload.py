"""What happens to trust while a server runs: each test is over real TLS, most of them over connections already open."""

import contextlib
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from mtls_as.rfc.refusal import Refusal
from mtls_as.server.events import ReloadEvent, ReloadOutcome
from tests.authority import Authority, Identity, dns, name
from tests.rfc.test_certificate_pins import certificate_pin, key_pin
from tests.running import Deployment, RunningServer, running, token_form

LOOK_SECONDS = 0.5
WAIT_SECONDS = 10.0

A = Authority.create(name("Partner CA", organization="Partners"))
NAMESAKE = Authority.create(A.certificate.subject)
"""The same name as A, another key: partner B's."""
C = Authority.create("Another CA")
A_CLIENT = A.issue("a", san=[dns("client.example")])
B_CLIENT = NAMESAKE.issue("b", san=[dns("client.example")])
C_CLIENT = C.issue("c", san=[dns("client.example")])


def deploy(folder: Path) -> Deployment:
    """Partners A and B, whose CAs bear one name, each in a domain of its own; every client has the same subject."""
    deployment = Deployment(folder)
    deployment.trust("a", A).trust("b", NAMESAKE)
    for domain in ("a", "b"):
        deployment.client(domain, trust=domain, tls_client_auth_san_dns="client.example")
    return deployment


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running(deploy(tmp_path)) as server:
        yield server


@contextlib.contextmanager
def connected(server: RunningServer, identity: Identity) -> Iterator[Callable[[str], int]]:
    """One connection, kept open; gives the status of a token request of a client over it."""
    with server.client(identity) as client:
        yield lambda client_id: client.post("/token", data=token_form(client_id)).status_code


def put(file: Path, content: str | bytes) -> None:
    """Replace a file in place, as an editor or a careless script does."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def assert_namesakes_apart(server: RunningServer) -> None:
    """Each partner speaks for its own client alone, although the names of both CAs and clients are the same."""
    for identity, client_id, status in [
        (A_CLIENT, "a", 200),
        (B_CLIENT, "b", 200),
        (A_CLIENT, "b", 401),
        (B_CLIENT, "a", 401),
        (Identity(A_CLIENT.certificate, A_CLIENT.private_key, (A.certificate, NAMESAKE.certificate)), "b", 401),
        (Identity(B_CLIENT.certificate, B_CLIENT.private_key, (A.certificate, NAMESAKE.certificate)), "a", 401),
    ]:
        assert server.token(identity, client_id).status_code == status, server.last_event


BROKEN = {
    "garbage": b"\x00\xffgarbage",
    "empty": b"",
    "cut off": A.pem.encode()[:-40],
    "half a bundle": (NAMESAKE.pem + A.pem[:300]).encode(),
    "DER": A.der,
    "an end-entity certificate": A_CLIENT.pem.encode(),
    "the CA and an end-entity certificate": (A.pem + A_CLIENT.pem).encode(),
    "a private key": A.key_pem.encode(),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_anchor_file_that_is_broken(server: RunningServer, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """quarkus#45565, keycloak#51680: the old anchors stay, it is said aloud, and nobody else is trusted."""
    put(server.deployment.folder / "anchor-a-0.pem", BROKEN[kind])
    with connected(server, A_CLIENT) as status:
        assert status("a") == 200
        event = server.reload()
        assert (event.outcome, event.generation) == (ReloadOutcome.FAILED, 1)
        assert "trust domain 'a'" in (event.detail or "")
        assert "anchor-a-0.pem" in (event.detail or "")
        assert status("a") == 200
    assert_namesakes_apart(server)
    assert server.token(C_CLIENT, "a").status_code == 401
    assert any(record.levelname == "ERROR" and "stays in force" in record.message for record in caplog.records)


def test_an_anchor_file_that_is_gone(server: RunningServer) -> None:
    """Neither an empty trust store nor one domain less."""
    (server.deployment.folder / "anchor-a-0.pem").unlink()
    assert server.reload().outcome is ReloadOutcome.FAILED
    assert_namesakes_apart(server)


def test_one_broken_domain_keeps_all_domains_as_they_are(server: RunningServer) -> None:
    """All or nothing: the good change of another file waits until everything is good."""
    folder = server.deployment.folder
    put(folder / "anchor-b-0.pem", C.pem)
    put(folder / "anchor-a-0.pem", b"")
    assert server.reload().outcome is ReloadOutcome.FAILED
    assert server.token(C_CLIENT, "b").status_code == 401
    assert_namesakes_apart(server)
    put(folder / "anchor-a-0.pem", A.pem)
    assert server.reload() == server.reloads[-1]
    assert server.reloads[-1].outcome is ReloadOutcome.SUCCEEDED
    assert server.token(C_CLIENT, "b").status_code == 200
    assert server.token(B_CLIENT, "b").status_code == 401


@pytest.mark.parametrize("http2", [False, True])
def test_a_ca_that_is_removed(tmp_path: Path, http2: bool) -> None:
    """Its clients are refused at their next request, on the connections that they have."""
    deployment = Deployment(tmp_path).trust("default", A, C)
    deployment.client("c1", tls_client_auth_san_dns="client.example")
    with running(deployment) as server:
        context = server.ssl_context(C_CLIENT)
        client = httpx.Client(verify=context, base_url=server.url, trust_env=False, http1=not http2, http2=http2)
        with client, connected(server, A_CLIENT) as other:
            assert client.post("/token", data=token_form()).status_code == 200
            assert other("c1") == 200
            put(tmp_path / "anchor-default-1.pem", A.pem)
            assert (server.reload().outcome, server.node.generation.number) == (ReloadOutcome.SUCCEEDED, 2)
            refused = client.post("/token", data=token_form())
            assert (refused.status_code, refused.http_version) == (401, "HTTP/2" if http2 else "HTTP/1.1")
            assert server.last_event.refusal is Refusal.UNTRUSTED_ISSUER
            assert other("c1") == 200


def test_namesakes_cannot_impersonate_each_other_after_a_reload(server: RunningServer) -> None:
    """Two partners with CAs of one name: with warm verdicts, after a reload, exchanged, and exchanged back."""
    folder = server.deployment.folder
    assert_namesakes_apart(server)
    assert server.reload().generation == 2
    assert_namesakes_apart(server)
    put(folder / "anchor-a-0.pem", NAMESAKE.pem)
    put(folder / "anchor-b-0.pem", A.pem)
    assert server.reload().generation == 3
    assert [server.token(A_CLIENT, client).status_code for client in ("a", "b")] == [401, 200]
    assert [server.token(B_CLIENT, client).status_code for client in ("a", "b")] == [200, 401]
    put(folder / "anchor-a-0.pem", A.pem)
    put(folder / "anchor-b-0.pem", NAMESAKE.pem)
    assert server.reload().generation == 4
    assert_namesakes_apart(server)


def test_clients_come_go_and_change(server: RunningServer) -> None:
    """A client that is removed, disabled or given another subject is refused at its next request."""
    deployment, kept = server.deployment, list(server.deployment.sections)
    with connected(server, A_CLIENT) as status:
        assert (status("a"), status("new")) == (200, 401)
        deployment.client("new", trust="a", tls_client_auth_san_dns="client.example").configure()
        assert server.reload().outcome is ReloadOutcome.SUCCEEDED
        assert (status("a"), status("new")) == (200, 200)
        for members, refusal in [
            ({"enabled": False}, Refusal.DISABLED_CLIENT),
            ({"tls_client_auth_san_dns": "other.example"}, Refusal.SUBJECT_MISMATCH),
            ({"trust": "b"}, Refusal.BAD_SIGNATURE),
        ]:
            deployment.sections = list(kept)
            deployment.client("new", **{"trust": "a", "tls_client_auth_san_dns": "client.example", **members})
            deployment.configure()
            assert server.reload().outcome is ReloadOutcome.SUCCEEDED
            assert (status("a"), status("new")) == (200, 401)
            assert server.last_event.refusal in {refusal, Refusal.UNTRUSTED_ISSUER}
        deployment.sections = kept
        deployment.configure()
        assert server.reload().outcome is ReloadOutcome.SUCCEEDED
        assert (status("a"), status("new")) == (200, 401)
        assert server.last_event.refusal is Refusal.UNKNOWN_CLIENT


def test_resources_and_lifetimes_change(server: RunningServer) -> None:
    """The rest of the configuration is reloaded with it, metadata too."""
    deployment = server.deployment
    deployment.lifetime = 77
    deployment.resource("https://new.example", "new:read")
    deployment.client("new", trust="a", tls_client_auth_san_dns="client.example", scope="new:read")
    deployment.configure()
    assert server.reload().outcome is ReloadOutcome.SUCCEEDED
    answer = server.token(A_CLIENT, "new").json()
    assert (answer["scope"], answer["expires_in"]) == ("new:read", 77)
    with server.client() as client:
        metadata = client.get("/.well-known/oauth-authorization-server").json()
    assert "new:read" in metadata["scopes_supported"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('issuer = "https://localhost:8443"', 'issuer = "https://other.example"', "issuer: cannot change while"),
        ('[listeners.mtls]\nbind = "127.0.0.1:0"', '[listeners.mtls]\nbind = "127.0.0.1:1"', "listeners.mtls.bind: "),
        ("[storage]", '[listeners.public]\nbind = "127.0.0.1:2"\n[storage]', "listeners.public.bind: "),
        ("sqlite:///test.db", "sqlite:///other.db", "storage.url: "),
        ('"test.key"', '"other.key"', "storage.encryption_key_file: "),
        ("workers = 1", "workers = 2", "server.workers: "),
        ("idle = 20", "idle = 21", "timeouts.idle: "),
        ("lifetime = 300", "lifetim = 300", "tokens.lifetim: unknown key"),
        ('algorithm = "ES256"', 'algorithm = "PS256"', "PS256"),
        ("[tokens]", "[tokens", "is not TOML"),
        ("[[clients]]", "", ""),
    ],
)
def test_a_configuration_that_cannot_be_taken(server: RunningServer, old: str, new: str, message: str) -> None:
    """What needs a restart says so and names the key; and what would not start is not reloaded either."""
    path, folder = server.deployment.path, server.deployment.folder
    text = path.read_text()
    assert old in text
    put(path, text.replace(old, new))
    put(folder / "anchor-a-0.pem", C.pem)
    event = server.reload()
    assert (event.outcome, event.generation) == (ReloadOutcome.FAILED, 1)
    assert message in (event.detail or "")
    assert "\n" not in (event.detail or "")
    assert_namesakes_apart(server)
    put(path, text)
    assert (server.reload().outcome, server.token(C_CLIENT, "a").status_code) == (ReloadOutcome.SUCCEEDED, 200)


def served_serial_number(server: RunningServer) -> int:
    """Of the certificate that new connections get."""
    pem = ssl.get_server_certificate(("127.0.0.1", server.ports["mtls"]))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_the_servers_certificate(server: RunningServer) -> None:
    """New connections get the new one, open ones go on; a key that does not go with it changes nothing."""
    folder, authority = server.deployment.folder, server.deployment.server_authority
    old, new = served_serial_number(server), authority.issue_server("localhost", "127.0.0.1")
    with connected(server, A_CLIENT) as status:
        assert status("a") == 200
        put(folder / "server.pem", new.pem)
        event = server.reload()
        assert event.outcome is ReloadOutcome.FAILED
        assert "server-key.pem: the key of another certificate" in (event.detail or "")
        assert served_serial_number(server) == old
        new.write(folder, "server")
        assert server.reload().outcome is ReloadOutcome.SUCCEEDED
        assert served_serial_number(server) == new.certificate.serial_number
        assert status("a") == 200


def test_a_request_under_way_ends_on_the_generation_it_began_on(server: RunningServer) -> None:
    """Its head came before the reload, its body afterwards."""
    body = b"grant_type=client_credentials&client_id=a"

    def slowly() -> Iterator[bytes]:
        yield body[:10]
        put(server.deployment.folder / "anchor-a-0.pem", C.pem)
        # Once the server has seen the head, which it does long before this.
        threading.Event().wait(0.5)
        assert server.reload().outcome is ReloadOutcome.SUCCEEDED
        yield body[10:]

    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
    with server.client(A_CLIENT) as client:
        assert client.post("/token", content=slowly(), headers=headers).status_code == 200
        assert client.post("/token", data=token_form("a")).status_code == 401


def test_an_unforeseen_error_changes_nothing(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is."""

    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("mtls_as.wiring.generation.TrustDomains.load", explode)
    event = server.reload()
    assert (event.outcome, event.detail) == (ReloadOutcome.FAILED, "unforeseen: RuntimeError: boom")
    monkeypatch.undo()
    assert_namesakes_apart(server)
    assert server.reload().generation == 2


def test_pinned_anchors_over_tls(tmp_path: Path) -> None:
    """The client sends the pinned CA along; a pin that is removed counts no more at the next request."""
    deployment = Deployment(tmp_path, admin=True)
    deployment.sections.append(f"[trust.default]\nanchors = ['{key_pin(A)}', '{certificate_pin(C)}']\n")
    deployment.client("c1", tls_client_auth_san_dns="client.example")
    with_anchor = [
        Identity(c.certificate, c.private_key, (ca.certificate,)) for c, ca in ((A_CLIENT, A), (C_CLIENT, C))
    ]
    with running(deployment) as server:
        assert [server.token(identity).status_code for identity in with_anchor] == [200, 200]
        health = httpx.get(f"{server.admin_url}/health/ready", verify=server.ssl_context(), trust_env=False)
        assert health.json()["checks"]["trust"] == {"passed": True, "detail": "generation 1, 1 domains"}
        forged = Identity(B_CLIENT.certificate, B_CLIENT.private_key, (NAMESAKE.certificate, A.certificate))
        assert server.token(forged).status_code == 401
        deployment.sections[0] = f"[trust.default]\nanchors = ['{certificate_pin(C)}']\n"
        deployment.configure()
        assert server.reload().outcome is ReloadOutcome.SUCCEEDED
        assert [server.token(identity).status_code for identity in with_anchor] == [401, 200]


# -- Files that change by themselves


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not noticed"
        threading.Event().wait(0.05)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that looks at its files often, with the anchors of `a` in a folder."""
    (tmp_path / "a").mkdir()
    deployment = deploy(tmp_path)
    shutil.move(tmp_path / "anchor-a-0.pem", tmp_path / "a" / "0.pem")
    deployment.sections[0] = "[trust.a]\nanchors = ['a/*.pem']\n"
    with running(deployment, follow_files=LOOK_SECONDS) as server:
        yield server


def next_reload(server: RunningServer, change: Callable[[], object]) -> ReloadEvent:
    count = len(server.reloads)
    change()
    eventually(lambda: len(server.reloads) > count)
    return server.reloads[count]


def test_files_are_watched(watching: RunningServer) -> None:
    """New, replaced, broken, repaired and removed ones; each change is taken once."""
    folder = watching.deployment.folder
    with connected(watching, C_CLIENT) as status:
        assert status("a") == 401
        event = next_reload(watching, lambda: put(folder / "a" / "1.pem", C.pem))
        assert (event.cause, event.outcome, event.generation) == ("file change", ReloadOutcome.SUCCEEDED, 2)
        assert status("a") == 200
        assert next_reload(watching, lambda: put(folder / "a" / "1.pem", b"")).outcome is ReloadOutcome.FAILED
        assert status("a") == 200
        (folder / "new").write_text(A.pem)
        event = next_reload(watching, lambda: (folder / "new").rename(folder / "a" / "1.pem"))
        assert (event.outcome, event.generation) == (ReloadOutcome.SUCCEEDED, 3)
        assert status("a") == 401
        assert next_reload(watching, (folder / "a" / "1.pem").unlink).generation == 4
        issued = watching.deployment.server_authority.issue_server("localhost", "127.0.0.1")
        issued.write(folder, "server")
        eventually(lambda: served_serial_number(watching) == issued.certificate.serial_number)
        count = len(watching.reloads)
        threading.Event().wait(4 * LOOK_SECONDS)
        assert len(watching.reloads) == count


def test_a_file_that_is_being_written_is_not_taken(watching: RunningServer) -> None:
    """Half of it would be an error, or fewer anchors than are meant; it is read when it has come to rest."""
    file, text = watching.deployment.folder / "a" / "1.pem", (A.pem + C.pem) * 10

    def write_slowly() -> None:
        with file.open("w") as stream:
            for start in range(0, len(text), 400):
                stream.write(text[start : start + 400])
                stream.flush()
                threading.Event().wait(LOOK_SECONDS / 10)

    assert next_reload(watching, write_slowly).outcome is ReloadOutcome.SUCCEEDED
    assert watching.token(C_CLIENT, "a").status_code == 200
    assert {event.outcome for event in watching.reloads} == {ReloadOutcome.SUCCEEDED}


def test_a_file_that_was_missing_is_noticed_when_it_comes(watching: RunningServer) -> None:
    """The configuration came first and named an anchor that was not there yet."""
    deployment = watching.deployment
    deployment.sections.append("[trust.c]\nanchors = ['c.pem']\n")
    deployment.client("c", trust="c", tls_client_auth_san_dns="client.example")
    assert next_reload(watching, deployment.configure).outcome is ReloadOutcome.FAILED
    event = next_reload(watching, lambda: put(deployment.folder / "c.pem", C.pem))
    assert event.outcome is ReloadOutcome.SUCCEEDED
    assert watching.token(C_CLIENT, "c").status_code == 200
