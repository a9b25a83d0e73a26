"""`gateway.toml`: the documented example is good, and what is wrong is said with its place."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from mtls_as.config.problems import ConfigurationError, find_problems
from mtls_as.forwarded import ListedHop, PinnedHop, SocketHop
from mtls_as.gateway import check, load_gateway_settings
from mtls_as.gateway.document import GatewayDocument
from tests.gateway.running import EXAMPLES

PIN = "sha256:" + "ab" * 32
HEAD = 'proxy = "nginx"\n[issuer]\nurl = "https://as.example"\n[[resources]]\naudience = "https://api.example"\n'
ROUTE = '[[routes]]\npath = "/a"\nscopes = ["a"]\n'
# Keys without a default, of which the example shows a use.
ANOTHER_WAY = {
    "bind", "socket_group", "proxy_certificates", "proxy_addresses", "preset", "header", "ca", "jwks_uri", "jwks",
    "endpoint", "dpop_url", "actors", "audience",
}  # fmt: skip
SOCKET = '[listener]\nbind = "unix:g.sock"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        check(write(folder, text))
    return str(raised.value).replace(f"{folder / 'gateway.toml'}: ", "")


def test_the_example_is_good(tmp_path: Path) -> None:
    settings = check(write(tmp_path, (EXAMPLES / "gateway.toml").read_text()))
    assert settings.listener.bind == "unix:/run/mtls-as/gateway.sock"
    assert isinstance(settings.listener.proxy.hop, SocketHop)
    assert [route.path for route in settings.routes] == ["/reports", "/reports/*", "/reports/*"]


def test_the_example_names_every_key_and_its_default() -> None:
    """What is commented out as a default is the default."""
    text = (EXAMPLES / "gateway.toml").read_text()
    keys = re.findall(r"^(#?)([a-z_0-9]+) = ([^#\n]*)", text, re.MULTILINE)
    fields = {field.name: field for table in _tables(GatewayDocument) for field in msgspec.structs.fields(table)}
    shown = {name for _, name, _ in keys} | set(re.findall(r"^#?\[+([a-z]+)\]+", text, re.MULTILINE))
    assert shown == set(fields)
    for commented, name, value in keys:
        field = fields[name]
        if not commented or field.required or name in ANOTHER_WAY:
            continue
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        assert tomllib.loads(f"value = {value}")["value"] == default, name


def _tables(struct: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    found = [struct]
    for field in msgspec.structs.fields(struct):
        for kind in re.findall(r"mtls_as\.[a-z_.]+\.\w+Table", str(field.type)):
            module, _, name = kind.rpartition(".")
            found += _tables(getattr(__import__(module, fromlist=[name]), name))
    return found


def test_no_hop_without_a_proof(tmp_path: Path) -> None:
    """As with the authorization server's listener for a proxy: it refuses to start."""
    text = HEAD + '[listener]\nbind = "127.0.0.1:9080"\n' + ROUTE
    assert "listener: nothing proves that requests come from the proxy" in problems(tmp_path, text)
    text = HEAD + '[listener]\nbind = "0.0.0.0:9080"\nproxy_addresses = ["127.0.0.1"]\n' + ROUTE
    assert "listener.bind: must be a loopback address" in problems(tmp_path, text)
    text = HEAD + '[listener]\nbind = "127.0.0.1:9080"\nproxy_addresses = ["192.0.2.1"]\n' + ROUTE
    assert "listener.proxy_addresses[0]: must be a loopback address" in problems(tmp_path, text)
    text = HEAD + f'[listener]\nbind = "0.0.0.0:9443"\nproxy_certificates = ["{PIN}"]\n' + ROUTE
    assert "tls: is missing" in problems(tmp_path, text)


def test_the_three_hops(tmp_path: Path) -> None:
    tls = '[tls]\ncertificate = "c.pem"\nprivate_key = "k.pem"\n'
    for listener, hop in (
        (SOCKET, SocketHop),
        ('[listener]\nbind = "127.0.0.1:0"\nproxy_addresses = ["127.0.0.1"]\n', ListedHop),
        (f'[listener]\nbind = "0.0.0.0:0"\nproxy_certificates = ["{PIN}"]\n{tls}', PinnedHop),
    ):
        settings = load_gateway_settings(write(tmp_path, HEAD + listener + ROUTE))
        assert isinstance(settings.listener.proxy.hop, hop)
        assert settings.listener.tls == (hop is PinnedHop)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + ROUTE, "listener: is missing"),
        (HEAD.replace("nginx", "nginxx") + SOCKET + ROUTE, 'proxy: must be "nginx" or'),
        (HEAD + SOCKET, "routes: is missing"),
        (HEAD + SOCKET + "[routes]\n", "routes: must be an array"),
        (HEAD + SOCKET + ROUTE + "[token]\n", 'token: unknown key; did you mean "tokens"?'),
        (HEAD + SOCKET + ROUTE.replace("scopes", "scope"), "routes[0].scope: unknown key"),
        (HEAD + SOCKET + ROUTE.replace("/a", "/a/*/b"), "routes[0].path: has a star only as its last segment"),
        (HEAD + SOCKET + ROUTE + ROUTE, "routes[1].path: is that of another route, too"),
        (HEAD + SOCKET + ROUTE + 'methods = ["get"]\n', "routes[0].methods[0]: must be a method"),
        (HEAD + SOCKET + ROUTE + 'audience = "urn:b"\n', "routes[0].audience: is that of no resource"),
        (HEAD + '[[resources]]\naudience = "urn:b"\n' + SOCKET + ROUTE, "routes[0].audience: is missing"),
        (HEAD + '[[resources]]\naudience = "https://api.example"\n' + SOCKET + ROUTE, "resources[1].audience: is that"),
        (HEAD.replace("https://api", "urn:api") + "metadata = true\n" + SOCKET + ROUTE, "resources[0].metadata: "),
        (
            HEAD + 'dpop_url = "https://a.example"\n[server]\nworkers = 2\n' + SOCKET + ROUTE,
            "server.workers: must be 1",
        ),
        (HEAD + SOCKET + ROUTE + '[headers]\nprefix = "X_Token"\n', "headers.prefix: must be words"),
        (HEAD + SOCKET + 'header = "a b"\n' + ROUTE, "listener.header: must be the name of a header"),
        (HEAD + SOCKET + 'preset = "ngin"\n' + ROUTE, "listener.preset: must be one of"),
        (
            HEAD + SOCKET + ROUTE + '[tls]\ncertificate = "c"\nprivate_key = "k"\n',
            "tls: is for a listener with proxy_c",
        ),
        ('x = "', "is not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert message in problems(tmp_path, text)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('ca = "missing.pem"', "issuer.ca: names a file that cannot be read"),
        ('jwks = "missing.json"', "issuer.jwks: names a file that cannot be read"),
        ('jwks = "gateway.toml"', "issuer.jwks: "),
        ('ca = "gateway.toml"', "issuer.ca: "),
        ('jwks = "a"\njwks_uri = "https://as.example/jwks"', "issuer.jwks_uri: is for an issuer without jwks"),
    ],
)
def test_files_are_looked_at_before_anything_starts(tmp_path: Path, keys: str, message: str) -> None:
    text = HEAD.replace('url = "https://as.example"', f'url = "https://as.example"\n{keys}')
    assert message in problems(tmp_path, text + SOCKET + ROUTE)


def test_problems_are_found_all_at_once() -> None:
    found = list(find_problems(GatewayDocument, {"proxy": 1, "listener": {}, "routes": [], "x": 1}))
    assert {problem.place for problem in found} >= {"proxy", "listener.bind", "issuer", "resources", "routes", "x"}
