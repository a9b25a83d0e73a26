"""`config.toml`: every key, every default, every path, and every problem with its place."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mtls_as.config import ConfigurationError, Settings, load_settings
from mtls_as.config.document import Document, SpiffeTable
from mtls_as.config.grant_tables import AuthorizationDetailsTable, ClaimsHookTable, IssuerTable
from mtls_as.config.limits import RatesTable
from mtls_as.config.observability import TracingTable
from mtls_as.config.registration import StatementIssuerTable
from mtls_as.server.clients import CLIENT_MEMBERS, ClientSource, parse_client

REFERENCE = Path(__file__).parents[2] / "config.toml"

# The keys of commented-out tables without which they do nothing.
EXAMPLES = {
    *("bind", "url", "anchors", "bundle", "bundle_endpoint", "module", "token"),
    *("issuer", "scope", "jwks_uri", "schema", "entry_point", "endpoint"),
}

MINIMAL = """
issuer = "https://as.example"
[tls]
certificate = "server.pem"
private_key = "server-key.pem"
[listeners.mtls]
bind = "127.0.0.1:8443"
[trust.default]
anchors = ["ca.pem"]
[[resources]]
identifier = "https://api.example"
scopes = ["reports:read"]
[[clients]]
client_id = "reports"
trust = "default"
token_endpoint_auth_method = "tls_client_auth"
tls_client_auth_san_dns = "reports.example"
scope = "reports:read"
"""


def load(folder: Path, text: str) -> Settings:
    """The settings of a file with this text."""
    path = folder / "config.toml"
    path.write_text(text)
    return load_settings(path)


def problems(folder: Path, text: str) -> dict[str, str]:
    """What is wrong with a file, by place."""
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text)
    found = {problem.place: problem.message for problem in caught.value.problems}
    assert len(found) == len(caught.value.problems), "one problem for each place"
    assert len(str(caught.value).splitlines()) == len(found), "one line for each problem"
    return found


def with_key(section: str, line: str) -> str:
    """The minimal file with one more line at the start of a section."""
    if not section:
        return line + MINIMAL
    if section not in MINIMAL:
        return f"{MINIMAL}\n{section}\n{line}\n"
    return MINIMAL.replace(section, f"{section}\n{line}", 1)


def changed(old: str, new: str) -> str:
    """The minimal file with one text replaced."""
    assert old in MINIMAL
    return MINIMAL.replace(old, new, 1)


def test_the_reference_file_loads() -> None:
    """`config.toml` of the project is the development configuration."""
    settings = load_settings(REFERENCE)
    assert [client.client_id for client in settings.clients] == ["reports", "billing"]
    assert {client.source for client in settings.clients} == {ClientSource.CONFIGURATION}
    (resource,) = settings.resources
    assert (resource.identifier, resource.scopes) == ("https://localhost:8445", ("reports:read", "reports:write"))


def test_the_reference_file_shows_every_key() -> None:
    """It is the reference, so no key is missing in it, not even those with a default."""
    table = tomllib.loads(REFERENCE.read_text())

    def assert_complete(kind: type[msgspec.Struct], table: dict[str, Any]) -> None:
        shown = set(table) | {name for name in commented if f"# {name} = " in REFERENCE.read_text()}
        assert {field.encode_name for field in msgspec.structs.fields(kind)} - shown == set()

    sections = {field.encode_name: field.type for field in msgspec.structs.fields(Document)}
    examples = {
        "issuers": IssuerTable,
        "authorization_details": AuthorizationDetailsTable,
        "claims_hook": ClaimsHookTable,
        "tracing": TracingTable,
    }
    nested = {"registration": StatementIssuerTable}
    commented = {"password_file"}
    assert set(sections) - {"listeners", "spiffe", *examples, *nested} <= set(table)
    for name in ("tls", "storage", "tokens", "server", "timeouts", "limits"):
        assert_complete(sections[name], table[name])
    alternatives = {
        name
        for name in CLIENT_MEMBERS
        if name.startswith(("tls_client_auth_", "jwks", "spiffe_", "exchange", "jwt_bearer"))
    }
    assert set(CLIENT_MEMBERS) - alternatives <= set(table["clients"][0])
    assert all(name in REFERENCE.read_text() for name in alternatives)
    for struct in (SpiffeTable, *examples.values(), *nested.values()):
        for field in msgspec.structs.fields(struct):
            assert re.search(rf"\n# {field.encode_name} = |; or {field.encode_name}, ", REFERENCE.read_text())


def test_the_reference_file_shows_the_defaults() -> None:
    """A value that stands there is the one that holds without it."""
    given = msgspec.convert(tomllib.loads(REFERENCE.read_text()), Document)
    assert given.limits.requests == {"token": RatesTable()}
    given = msgspec.structs.replace(given, limits=msgspec.structs.replace(given.limits, requests={}))
    for name in ("storage", "tokens", "server", "timeouts", "limits"):
        assert getattr(given, name) == type(getattr(given, name))()


def test_examples_in_the_reference_file_load(tmp_path: Path) -> None:
    """Its commented-out listener and trust domains work once they are uncommented."""
    text = REFERENCE.read_text()
    for line in text.splitlines():
        if line.startswith("# ") and ("= " in line or line.startswith("# [")) and "trust = " not in line:
            candidate = line.removeprefix("# ")
            if candidate.startswith("[") or candidate.split(" = ")[0] in EXAMPLES:
                text = text.replace(line, candidate)
    settings = load(tmp_path, text)
    assert settings.listeners.public is not None
    assert [domain.name for domain in settings.trust_domains] == ["default", "partner"]
    assert [domain.trust_domain for domain in settings.spiffe_domains] == ["workloads.example"]
    assert [issuer.issuer for issuer in settings.issuers] == ["https://idp.example"]
    assert list(settings.authorization_details) == ["payment_initiation"]
    assert settings.claims_hook.entry_point == "example"
    assert settings.registration is not None
    assert list(settings.registration.statement_issuers) == ["https://software.example"]


def test_defaults(tmp_path: Path) -> None:
    """What the minimal file leaves out."""
    settings = load(tmp_path, MINIMAL)
    assert settings.listeners.mtls.url == "https://as.example"
    assert settings.listeners.public is None
    assert settings.storage.url == f"sqlite:///{tmp_path}/mtls-as.db"
    assert settings.storage.encryption_key_file == tmp_path / "mtls-as.key"
    assert (settings.tokens.algorithm, settings.tokens.lifetime) == ("ES256", 300)
    assert settings.server.workers == 1
    timeouts = settings.timeouts
    assert [timeouts.handshake, timeouts.request_head, timeouts.idle, timeouts.shutdown] == [10.0, 10.0, 60.0, 10.0]
    (domain,) = settings.trust_domains
    assert (domain.name, domain.anchors, domain.extended_key_usage) == ("default", ("ca.pem",), "clientAuth")
    assert domain.minimum_key_strength == 112


def test_relative_paths_belong_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the program is started, the same files are meant."""
    (tmp_path / "config.toml").write_text(with_key("[storage]", 'url = "sqlite:///data/as.db"'))
    monkeypatch.chdir(tmp_path)
    settings = load_settings(Path("config.toml"))
    assert settings.folder == tmp_path
    assert settings.tls.certificate == tmp_path / "server.pem"
    assert settings.tls.private_key == tmp_path / "server-key.pem"
    assert settings.storage.url == f"sqlite:///{tmp_path}/data/as.db"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    """Four slashes, as SQLAlchemy has it."""
    text = with_key("[storage]", 'url = "sqlite:////var/lib/as.db"\nencryption_key_file = "/etc/as.key"')
    settings = load(tmp_path, text)
    assert settings.storage.url == "sqlite:////var/lib/as.db"
    assert settings.storage.encryption_key_file == Path("/etc/as.key")


def test_the_public_listener_has_the_issuers_host_and_its_own_port(tmp_path: Path) -> None:
    """`listeners.public.url` by default."""
    settings = load(tmp_path, with_key("[listeners.public]", 'bind = "0.0.0.0:8444"'))
    assert settings.listeners.public is not None
    assert settings.listeners.public.url == "https://as.example:8444"
    text = with_key("[listeners.public]", 'bind = "[::1]:8444"').replace("https://as.example", "https://[::1]:8443")
    settings = load(tmp_path, text)
    assert settings.listeners.public is not None
    assert settings.listeners.public.url == "https://[::1]:8444"


def test_a_client_without_trust_domains(tmp_path: Path) -> None:
    """With self-signed certificates alone, nobody needs an anchor."""
    text = MINIMAL.replace('[trust.default]\nanchors = ["ca.pem"]\n', "").replace('trust = "default"\n', "")
    text = text.replace('"tls_client_auth"', '"self_signed_tls_client_auth"')
    text = text.replace("tls_client_auth_san_dns = ", "jwks_uri = ").replace(
        '"reports.example"', '"https://c.example/k"'
    )
    assert load(tmp_path, text).trust_domains == ()


def test_a_set_of_keys_can_be_written_in_toml(tmp_path: Path) -> None:
    """`jwks` is a table with an array of tables."""
    text = (
        MINIMAL[: MINIMAL.index("[[clients]]")]
        + """
[[clients]]
client_id = "partner"
token_endpoint_auth_method = "self_signed_tls_client_auth"
[[clients.jwks.keys]]
kty = "OKP"
crv = "Ed25519"
x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
"""
    )
    (client,) = load(tmp_path, text).clients
    assert client.trust is None


UNKNOWN = "unknown key"


@pytest.mark.parametrize(
    ("section", "line", "place", "nearest"),
    [
        ("", "isuer = 1", "isuer", "issuer"),
        ("[tls]", "certifcate = 1", "tls.certifcate", "certificate"),
        ("[listeners.mtls]", "binds = 1", "listeners.mtls.binds", "bind"),
        ("[storage]", "uri = 1", "storage.uri", "url"),
        ("[tokens]", "life_time = 1", "tokens.life_time", "lifetime"),
        ("[server]", "worker = 1", "server.worker", "workers"),
        ("[timeouts]", "requesthead = 1", "timeouts.requesthead", "request_head"),
        ("[trust.default]", "anchor = 1", "trust.default.anchor", "anchors"),
        ("[[resources]]", "scope = 1", "resources[0].scope", "scopes"),
        ("[listener]", "", "listener", "listeners"),
    ],
)
def test_a_misspelt_key_names_its_place_and_the_nearest(
    tmp_path: Path, section: str, line: str, place: str, nearest: str
) -> None:
    """A setting never vanishes silently."""
    assert problems(tmp_path, with_key(section, line)) == {place: f'{UNKNOWN}; did you mean "{nearest}"?'}


def test_a_misspelt_member_of_a_client_names_its_place(tmp_path: Path) -> None:
    """The same for what RFC 7591 calls metadata."""
    found = problems(tmp_path, with_key("[[clients]]", 'client_nmae = "x"'))
    assert found == {"clients[0].client_nmae": 'unknown member; did you mean "client_name"?'}


def test_the_admin_listener_is_for_this_machine_alone(tmp_path: Path) -> None:
    """It asks nobody who they are."""
    for bind in ("127.0.0.1:9443", "127.8.8.8:0", "[::1]:9443"):
        assert load(tmp_path, with_key("[listeners.admin]", f'bind = "{bind}"')).listeners.admin_bind == bind
    for bind in ("0.0.0.0:9443", "[::]:9443", "192.0.2.1:9443", "admin.example:9443", "localhost:9443"):
        found = problems(tmp_path, with_key("[listeners.admin]", f'bind = "{bind}"'))
        assert "must be a loopback address" in found["listeners.admin.bind"]


def test_the_admin_listener_is_for_the_networks_that_are_named(tmp_path: Path) -> None:
    """Kubernetes and Prometheus ask from elsewhere; whoever opens the listener to them says who they are."""
    lines = 'bind = "0.0.0.0:9443"\nnetworks = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]'
    networks = load(tmp_path, with_key("[listeners.admin]", lines)).listeners.admin_networks
    assert [str(network) for network in networks] == ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"]
    for text in ("10.0.0.1/8", "cluster", "", "10.0.0.0/33", "0"):
        found = problems(tmp_path, with_key("[listeners.admin]", f'bind = "0.0.0.0:9443"\nnetworks = ["{text}"]'))
        assert "must be an address, or a network such as 10.0.0.0/8" in found["listeners.admin.networks[0]"]
    found = problems(tmp_path, with_key("[listeners.admin]", 'bind = "0.0.0.0:9443"\nnetworks = []'))
    assert "listeners.admin.networks" in found


def test_two_listeners_need_two_addresses(tmp_path: Path) -> None:
    """The admin listener's routes are on no other."""
    found = problems(tmp_path, with_key("[listeners.admin]", 'bind = "127.0.0.1:8443"'))
    assert found == {"listeners.admin.bind": "is the same as that of listeners.mtls"}


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    """One run shows all there is to mend: shapes, clients, and names of things that do not exist."""
    text = """
isuer = "https://as.example"
[tls]
certificate = 5
[listeners.mtls]
bind = "8443"
[tokens]
format = "opaqe"
algorithm = "ES265"
lifetime = 5
[trust.default]
anchors = []
[[resources]]
identifier = "api"
scopes = ["a b"]
[[clients]]
client_id = "a"
trust = "defualt"
token_endpoint_auth_method = "tls_client_auth"
tls_client_auth_san_dns = "*.example"
"""
    assert problems(tmp_path, text) == {
        "isuer": 'unknown key; did you mean "issuer"?',
        "issuer": "is missing",
        "tls.certificate": "must be a string, not a whole number",
        "tls.private_key": "is missing",
        "listeners.mtls.bind": "must be an address and a port, such as 127.0.0.1:8443 or [::1]:8443",
        "tokens.format": 'must be "jwt" or "opaque"; did you mean "opaque"?',
        "tokens.algorithm": 'must be "ES256" or "PS256" or "EdDSA" or "ML-DSA-44" or "ML-DSA-65" or "ML-DSA-87"; '
        'did you mean "ES256"?',
        "tokens.lifetime": "must be a whole number >= 10",
        "trust.default.anchors": "must be an array with at least one entry",
        "resources[0].identifier": "a resource identifier is an absolute URI such as https://api.example",
        "resources[0].scopes[0]": 'must be one scope: printable ASCII without spaces, " and \\',
        "clients[0].trust": 'there is no trust domain "defualt"; did you mean "default"?',
        "clients[0].tls_client_auth_san_dns": problems(tmp_path, changed('"reports.example"', '"*.example"'))[
            "clients[0].tls_client_auth_san_dns"
        ],
    }


@pytest.mark.parametrize(
    "issuer",
    [
        '"http://as.example"',
        '"https://as.example/"',
        '"https://as.example/a/"',
        '"https://as.example?a=b"',
        '"https://as.example#a"',
        '"https://u@as.example"',
        '"https://"',
        '"as.example"',
        '""',
        "5",
    ],
)
def test_an_issuer_is_an_https_url_without_query_fragment_and_final_slash(tmp_path: Path, issuer: str) -> None:
    """RFC 8414 §2."""
    assert set(problems(tmp_path, changed('"https://as.example"', issuer))) == {"issuer"}


@pytest.mark.parametrize(
    "bind", ["", "8443", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:8443", "a b:1", "h:1\n"]
)
def test_a_bind_is_an_address_and_a_port(tmp_path: Path, bind: str) -> None:
    """Nothing is guessed: an address left out could mean all of them."""
    text = changed('"127.0.0.1:8443"', msgspec.json.encode(bind).decode())
    assert set(problems(tmp_path, text)) == {"listeners.mtls.bind"}


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite+aiosqlite:///a.db",
        "mysql://root:hunter2@db/as",
        "postgres://as:hunter2@db/as",
        "postgresql://as:hunter2@db",
        "postgresql://as:hunter2@db/as?sslmode=prefer",
        "postgresql+asyncpg://as:hunter2@db/as",
        "as.db",
        "",
    ],
)
def test_storage_is_a_known_database_and_passwords_are_not_quoted(tmp_path: Path, url: str) -> None:
    """What does not work is refused, and an error message is no place for a password."""
    found = problems(tmp_path, with_key("[storage]", f'url = "{url}"'))
    assert set(found) == {"storage.url"}
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("section", "line", "place"),
    [
        ("[trust.default]", 'crl = [""]', "trust.default.crl[0]"),
        ("[trust.default]", 'crl = ["ldap://crl.example/"]', "trust.default.crl[0]"),
        ("[trust.default]", 'crl = ["http://user@crl.example/"]', "trust.default.crl[0]"),
        ("[trust.default]", 'ocsp = "ocsp.example"', "trust.default.ocsp"),
        ("[trust.default]", 'revocation = "soft"', "trust.default.revocation"),
        ("[trust.default]", "revocation_grace = -1", "trust.default.revocation_grace"),
        ("[trust.default]", "revoke_tokens = true", "trust.default.revoke_tokens"),
        ("[limits]", "failure_rate = -1", "limits.failure_rate"),
        ("[limits]", 'exempt_networks = ["192.0.2.1/24"]', "limits.exempt_networks[0]"),
        ("[limits.requests.tokens]", "client_rate = 1", "limits.requests.tokens"),
        ("[limits.requests.token]", "client_burst = 0", "limits.requests.token.client_burst"),
        ("[trust.other]", 'anchors = ["sha256:00ff"]', "trust.other.anchors[0]"),
        ("[trust.other]", 'anchors = [""]', "trust.other.anchors[0]"),
        ("[trust.default]", 'required_issuer = ["ca.pem"]', "trust.default.required_issuer[0]"),
        ("[trust.default]", 'required_policy = ["2.5.29.32.0"]', "trust.default.required_policy[0]"),
        ("[trust.default]", 'required_policy = ["policy"]', "trust.default.required_policy[0]"),
        ("[trust.default]", 'signature_algorithms = ["sha1"]', "trust.default.signature_algorithms[0]"),
        ("[trust.other]", 'anchors = "ca.pem"', "trust.other.anchors"),
        ('[trust."a b"]', 'anchors = ["ca.pem"]', 'trust."a b"'),
        ("[trust.default]", 'extended_key_usage = "serverAuth"', "trust.default.extended_key_usage"),
        ("[trust.default]", "minimum_key_strength = 80", "trust.default.minimum_key_strength"),
        ("[server]", "workers = 0", "server.workers"),
        ("[server]", "workers = true", "server.workers"),
        ("[tokens]", "lifetime = 86401", "tokens.lifetime"),
        ("[tokens]", "lifetime = 60.5", "tokens.lifetime"),
        ("[timeouts]", "idle = 0", "timeouts.idle"),
        ("[timeouts]", "idle = inf", "timeouts.idle"),
        ("[timeouts]", "idle = nan", "timeouts.idle"),
        ("[timeouts]", "idle = 12:00:00", "timeouts.idle"),
        ("[tls]", "[listeners.public]", "listeners.public.bind"),
        ("[listeners.public]", 'bind = "127.0.0.1:8443"', "listeners.public.bind"),
        ("[listeners.public]", 'bind = "127.0.0.1:1"\nurl = "https://as.example"', "listeners.public.url"),
        ("[listeners.public]", 'bind = "127.0.0.1:1"\nurl = "https://pub.example/"', "listeners.public.url"),
        ("[listeners.mtls]", 'url = "http://as.example"', "listeners.mtls.url"),
        ("[[clients]]", "access_token_lifetime = 5", "clients[0].access_token_lifetime"),
        ("[[clients]]", 'tls_client_auth_san_ip = "192.0.2.1"', "clients[0].tls_client_auth_san_ip"),
    ],
)
def test_a_wrong_value_names_its_place(tmp_path: Path, section: str, line: str, place: str) -> None:
    """Each with exactly one problem, at its own place."""
    text = with_key(section, line)
    if line == "[listeners.public]":
        text = MINIMAL + "\n[listeners.public]\n"
    assert set(problems(tmp_path, text)) == {place}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('trust = "default"', 'trust = "defautl"', {"clients[0].trust": "default"}),
        ('scope = "reports:read"', 'scope = "reports:raed"', {"clients[0].scope": "reports:read"}),
        ('trust = "default"\n', "", {"clients[0].trust": "missing"}),
        ('client_id = "reports"\n', "", {"clients[0].client_id": "missing"}),
        ('tls_client_auth_san_dns = "reports.example"\n', "", {"clients[0]": "exactly one subject"}),
        ('scopes = ["reports:read"]', 'scopes = ["reports:read", "reports:read"]', {"resources[0].scopes": "twice"}),
        ('"https://api.example"', '"https://api.example#a"', {"resources[0].identifier": "fragment"}),
        ("[[resources]]", "[resources]", {"resources": "an array", "clients[0].scope": "no resource"}),
        ("[[clients]]", "[clients]", {"clients": "an array"}),
        ("[tls]\n", "[[tls]]\n", {"tls": "a table"}),
        ("[listeners.mtls]", "[listeners.public]", {"listeners.mtls": "missing"}),
    ],
)
def test_parts_that_do_not_fit_together(tmp_path: Path, old: str, new: str, found: dict[str, str]) -> None:
    """Names must exist, and structure must be right."""
    actual = problems(tmp_path, changed(old, new))
    assert set(actual) == set(found)
    for place, text in found.items():
        assert text in actual[place]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_declared_client_has_no_secret(tmp_path: Path, method: str) -> None:
    """The server makes secrets; the message says where."""
    subject = 'tls_client_auth_san_dns = "reports.example"\n'
    old = f'trust = "default"\ntoken_endpoint_auth_method = "tls_client_auth"\n{subject}'
    text = changed(old, f'token_endpoint_auth_method = "{method}"\n')
    found = problems(tmp_path, text)["clients[0].token_endpoint_auth_method"]
    assert f"mtls-as client add --method {method}" in found


def test_names_are_unique(tmp_path: Path) -> None:
    """Two clients of one name, two resources of one identifier."""
    clients, resources = MINIMAL[MINIMAL.index("[[clients]]") :], 'identifier = "https://api.example"'
    second = f'[[resources]]\n{resources}\nscopes = ["x"]\n'
    assert problems(tmp_path, MINIMAL + clients + second) == {
        "clients[1].client_id": "is the same as in clients[0]",
        "resources[1].identifier": "is the same as in resources[0]",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'issuer = "a\n[tls]\n', "is not TOML: .*line 1"),
        (b"issuer = 'a'\nissuer = 'b'", "is not TOML: .*line 2"),
        (b"issuer = 'a'\n# \xff", "is not UTF-8 .*line 2"),
    ],
)
def test_a_file_that_is_not_toml_names_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    """With the file's name, on one line."""
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    """Neither is a traceback."""
    with pytest.raises(ConfigurationError, match=r"config\.toml: there is no such file$"):
        load_settings(tmp_path / "config.toml")
    with pytest.raises(ConfigurationError, match=r"cannot be read: Is a directory$"):
        load_settings(tmp_path)


def test_an_empty_file_says_what_is_needed(tmp_path: Path) -> None:
    """What has no default."""
    missing = dict.fromkeys(("issuer", "tls", "listeners", "resources"), "is missing")
    assert problems(tmp_path, "") == missing


def test_a_client_from_elsewhere_is_held_against_the_configuration(tmp_path: Path) -> None:
    """What `client add` stores must fit what the server knows."""
    settings = load(tmp_path, MINIMAL)
    members = {
        "client_id": "x",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "x.example",
    }
    good = parse_client({**members, "trust": "default", "scope": "reports:read"}, ClientSource.STORAGE)
    assert settings.find_client_problems(good) == ()
    bad = parse_client({**members, "trust": "other", "scope": "reports:raed"}, ClientSource.STORAGE)
    assert [member for member, _ in settings.find_client_problems(bad)] == ["trust", "scope"]


def test_settings_hold_no_secret() -> None:
    """They can be printed."""
    assert {field.name for field in fields(Settings)} >= {"issuer", "clients", "trust_domains"}
    assert "PRIVATE" not in repr(load_settings(REFERENCE))
