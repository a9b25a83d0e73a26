"""`client`: registrations as options and as JSON, what is refused, and what the listings say."""

import json
import re
import tomllib

import pytest

from tests.assertions import AssertingClient
from tests.authority import self_signed
from tests.cli.workplace import Workplace

SUBJECT = ("--client-id", "new", "--trust", "default", "--scope", "reports:read")


def show(workplace: Workplace, client_id: str = "new") -> dict[str, object]:
    members: dict[str, object] = json.loads(workplace.succeed("client", "show", client_id, "--json"))
    return members


@pytest.mark.parametrize(
    ("option", "member", "text"),
    [
        ("--subject-dn", "tls_client_auth_subject_dn", r"CN=a\"b\,c,O=Ex"),
        ("--san-dns", "tls_client_auth_san_dns", "new.example"),
        ("--san-uri", "tls_client_auth_san_uri", "spiffe://new.example/a"),
        ("--san-ip", "tls_client_auth_san_ip", "2001:db8::1"),
        ("--san-email", "tls_client_auth_san_email", "new@mail.example"),
    ],
)
def test_each_subject_has_an_option(workplace: Workplace, option: str, member: str, text: str) -> None:
    workplace.succeed("client", "add", *SUBJECT, option, text)
    shown = show(workplace)
    assert (shown[member], shown["token_endpoint_auth_method"]) == (text, "tls_client_auth")
    assert shown["tls_client_certificate_bound_access_tokens"] is True


def test_a_certificate_is_registered_as_it_stands(workplace: Workplace) -> None:
    """RFC 8705 §2.2.2: the certificate itself, in x5c; it is then accepted, and another one is not."""
    workplace.succeed(
        "client", "add", "--client-id", "new", "--certificate", "certs/partner.pem", "--name", "A partner"
    )
    assert show(workplace)["client_name"] == "A partner"
    explained = workplace.succeed("cert", "explain", "certs/partner.pem", "--client", "new")
    assert "new: accepted" in explained
    assert "new: refused, key_not_registered" in workplace.succeed("cert", "explain", "certs/other.pem")


def test_tokens_are_bound_to_dpop_keys_on_request(workplace: Workplace) -> None:
    """RFC 9449 §5.2: to these, and not to the certificate."""
    workplace.succeed("client", "add", "--client-id", "new", "--certificate", "certs/partner.pem", "--dpop")
    shown = show(workplace)
    assert shown["dpop_bound_access_tokens"] is True
    assert shown["tls_client_certificate_bound_access_tokens"] is False


def test_keys_come_from_a_file_or_a_url(workplace: Workplace) -> None:
    explained = json.loads(workplace.succeed("cert", "explain", "certs/partner.pem", "--json"))
    file = workplace.write("jwks.json", json.dumps(explained["jwks"]))
    workplace.succeed("client", "add", "--client-id", "file", "--jwks", file, "--bearer")
    assert show(workplace, "file")["tls_client_certificate_bound_access_tokens"] is False
    workplace.succeed("client", "add", "--client-id", "url", "--jwks-uri", "https://partner.example/jwks")
    assert show(workplace, "url")["jwks_uri"] == "https://partner.example/jwks"


def test_metadata_comes_from_a_file_and_options_win(workplace: Workplace) -> None:
    members = {
        "client_id": "new",
        "trust": "default",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "new.example",
        "scope": "reports:read",
    }
    file = workplace.write("client.json", json.dumps(members))
    added = json.loads(workplace.succeed("client", "add", "--metadata", file, "--scope", "reports:write", "--json"))
    assert (added["scope"], added["source"]) == ("reports:write", "storage")
    assert show(workplace) == added


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*SUBJECT, "--san-dns", "a.example", "--san-uri", "https://a.example/"), "a client has exactly one subject"),
        ((*SUBJECT, "--san-dns", "*.example"), "wildcards match nothing"),
        (
            (*SUBJECT, "--san-dns", "a.example", "--jwks-uri", "https://a.example/"),
            "belongs to self_signed_tls_client_auth",
        ),
        (("--client-id", "new", "--san-dns", "a.example"), "trust: is missing"),
        (("--client-id", "new", "--trust", "defualt", "--san-dns", "a.example"), 'did you mean "default"?'),
        ((*SUBJECT[:4], "--scope", "reports:raed", "--san-dns", "a.example"), 'did you mean "reports:read"?'),
        (
            (*SUBJECT, "--san-dns", "a.example", "--access-token-lifetime", "0"),
            "access_token_lifetime: must be between",
        ),
        (("--client-id", "reports", *SUBJECT[2:], "--san-dns", "a.example"), "is declared in the configuration file"),
        (("--client-id", "new", "--certificate", "certs/ca-key.pem"), "certs/ca-key.pem: it holds a private key"),
        (("--client-id", "new", "--certificate", "none.pem"), "none.pem: No such file"),
        (("--client-id", "new", "--jwks", "config.toml"), "config.toml: the text is not JSON"),
        (("--metadata", "none.json"), "none.json: No such file"),
    ],
)
def test_what_cannot_be_registered_is_named(shared: Workplace, arguments: tuple[str, ...], message: str) -> None:
    assert message in shared.fail("client", "add", *arguments)
    assert "new" not in shared.succeed("client", "list")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--client-id"),
        (("--client-id", "new"), "Give one --subject-dn"),
        (("--client-id", "new", "--jwks", "a", "--certificate", "b"), "exclude each other"),
    ],
)
def test_wrong_usage_is_status_2(shared: Workplace, arguments: tuple[str, ...], message: str) -> None:
    assert message in shared.fail("client", "add", *arguments, status=2)


def test_a_metadata_file_must_hold_an_object(workplace: Workplace) -> None:
    file = workplace.write("list.json", "[]")
    assert "list.json: a client's metadata is a JSON object" in workplace.fail("client", "add", "--metadata", file)


def test_a_name_is_registered_once(workplace: Workplace) -> None:
    arguments = ("client", "add", *SUBJECT, "--san-dns", "a.example")
    workplace.succeed(*arguments)
    assert "is stored already" in workplace.fail(*arguments)


def test_disable_enable_and_delete(workplace: Workplace) -> None:
    workplace.succeed("client", "add", *SUBJECT, "--san-dns", "reports.example")
    workplace.succeed("client", "disable", "new")
    assert "new: refused, disabled_client" in workplace.succeed("cert", "explain", "certs/reports.pem")
    workplace.succeed("client", "enable", "new")
    assert "new: accepted" in workplace.succeed("cert", "explain", "certs/reports.pem")
    workplace.succeed("client", "delete", "new")
    for command in ("show", "disable", "enable", "delete"):
        assert "new" in workplace.fail("client", command, "new")


@pytest.mark.parametrize("command", ["disable", "enable", "delete"])
def test_declared_clients_are_changed_in_their_file(shared: Workplace, command: str) -> None:
    message = shared.fail("client", command, "reports")
    assert message == "the client reports is declared in the configuration file, and is changed there alone"


def test_the_listing_is_stable_without_a_terminal(shared: Workplace) -> None:
    header, *rows = (line.split("\t") for line in shared.succeed("client", "list").splitlines())
    assert header == ["client_id", "token_endpoint_auth_method", "identity", "trust", "scope", "enabled", "source"]
    dns, subject = "san_dns reports.example", "subject_dn CN=billing,O=Example"
    assert rows == [
        ["billing", "tls_client_auth", subject, "default", "reports:read reports:write", "yes", "configuration"],
        ["reports", "tls_client_auth", dns, "default", "reports:read", "yes", "configuration"],
    ]


def test_what_show_prints_can_be_pasted_into_the_configuration(workplace: Workplace) -> None:
    file = workplace.write("new.pem", self_signed("new").pem)
    workplace.succeed("client", "add", "--client-id", "new", "--certificate", file, "--access-token-lifetime", "60")
    shown = workplace.succeed("client", "show", "new")
    workplace.succeed("client", "delete", "new")
    workplace.config.write_text(f"{workplace.config.read_text()}\n[[clients]]\n{shown}")
    assert tomllib.loads(shown)["access_token_lifetime"] == 60
    assert show(workplace)["source"] == "configuration"
    assert "new: accepted" in workplace.succeed("cert", "explain", file)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_secret_is_made_and_shown_once(workplace: Workplace, method: str) -> None:
    """43 characters at the end of the output, and in none afterwards."""
    shown = workplace.succeed("client", "add", "--client-id", "old", "--method", method, "--scope", "reports:read")
    *lines, secret = shown.splitlines()
    assert lines == ["The client old is registered.", "Its secret, which nobody can show again:"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
    members = show(workplace, "old")
    assert (members["token_endpoint_auth_method"], members["scope"]) == (method, "reports:read")
    assert [entry["expires_at"] for entry in members["client_secrets"]] == [None]  # type: ignore[attr-defined] # a list
    for arguments in (("show", "old"), ("list",), ("list", "--json")):
        assert secret not in workplace.succeed("client", *arguments)
    assert secret.encode() not in (workplace.folder / "mtls-as.db").read_bytes()


def test_a_secret_as_json(workplace: Workplace) -> None:
    """RFC 7591 §3.2.1 calls it client_secret."""
    arguments = ("--client-id", "old", "--method", "client_secret_basic", "--json")
    added = json.loads(workplace.succeed("client", "add", *arguments))
    rotated = json.loads(workplace.succeed("client", "rotate-secret", "old", "--json"))
    assert len({added["client_secret"], rotated["client_secret"]}) == 2
    assert len(rotated["client_secrets"]) == 2


def test_a_secret_is_rotated_with_an_overlap(workplace: Workplace) -> None:
    """The old one ends after it; with none, at once."""
    workplace.succeed("client", "add", "--client-id", "old", "--method", "client_secret_basic")
    first, second, *_ = workplace.succeed("client", "rotate-secret", "old").splitlines()
    assert first == "The client old has a new secret."
    assert second.startswith("The one before is valid until 2")
    assert workplace.succeed("client", "show", "old").count("# a secret made at ") == 2
    lines = workplace.succeed("client", "rotate-secret", "old", "--overlap", "0s").splitlines()
    assert lines[:2] == ["The client old has a new secret.", "Its secret, which nobody can show again:"]
    assert workplace.succeed("client", "show", "old").count("# a secret made at ") == 1


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (("nobody",), "there is no client nobody", 1),
        (("reports",), "is declared in the configuration file", 1),
        (("reports", "--overlap", "soon"), "soon is not a duration", 2),
        (("reports", "--overlap", "-1d"), "-1d is not a duration", 2),
    ],
)
def test_what_cannot_be_rotated_is_named(
    shared: Workplace, arguments: tuple[str, ...], message: str, status: int
) -> None:
    assert message in shared.fail("client", "rotate-secret", *arguments, status=status)


def test_a_client_without_a_secret_gets_none(workplace: Workplace) -> None:
    workplace.succeed("client", "add", *SUBJECT, "--san-dns", "new.example")
    assert "authenticates by tls_client_auth, not with a secret" in workplace.fail("client", "rotate-secret", "new")


def test_keys_sign_assertions_where_the_method_says_so(workplace: Workplace) -> None:
    """RFC 7523 §2.2: the same options as for self-signed certificates, and another method."""
    file = workplace.write("batch.json", json.dumps(AssertingClient("batch").jwks))
    workplace.succeed("client", "add", "--client-id", "batch", "--method", "private_key_jwt", "--jwks", file)
    assert show(workplace, "batch")["token_endpoint_auth_method"] == "private_key_jwt"
    arguments = ("--client-id", "url", "--method", "private_key_jwt", "--jwks-uri", "https://c.example/jwks")
    workplace.succeed("client", "add", *arguments)
    assert show(workplace, "url")["jwks_uri"] == "https://c.example/jwks"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "private_key_jwt"), "private_key_jwt needs jwks or jwks_uri"),
        (("--method", "none"), "cannot be none: no grant of this server"),
        (("--method", "client_secret_basic", "--trust", "default"), "trust: must not be given"),
        (("--method", "client_secret_post", "--san-dns", "a.example"), "belongs to tls_client_auth"),
    ],
)
def test_a_method_and_what_does_not_go_with_it(shared: Workplace, arguments: tuple[str, ...], message: str) -> None:
    assert message in shared.fail("client", "add", "--client-id", "new", *arguments)
