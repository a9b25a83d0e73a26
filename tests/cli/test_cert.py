"""`cert explain`: what a certificate says, the lines that register it, and the verdicts of the server itself."""

import hashlib
import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from mtls_as.cli import cert
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from mtls_as.rfc.rfc8705_mtls import SubjectType, match_subject, parse_expected_subject
from tests.authority import Authority, Identity, dns, email, ip, name, self_signed, uri
from tests.cli.workplace import Workplace


@pytest.fixture(scope="module")
def trusted(shared: Workplace) -> Authority:
    """The development CA, which the trust domain `default` relies on."""
    certificate = x509.load_pem_x509_certificate((shared.folder / "certs" / "ca.pem").read_bytes())
    key = load_pem_private_key((shared.folder / "certs" / "ca-key.pem").read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    return Authority(certificate, key)


def explain(workplace: Workplace, folder: Path, identity: Identity, *options: str) -> dict[str, Any]:
    file, _ = identity.write(folder, "explained")
    explained: dict[str, Any] = json.loads(workplace.succeed("cert", "explain", str(file), *options, "--json"))
    return explained


def verdict(workplace: Workplace, folder: Path, identity: Identity, client_id: str = "reports") -> dict[str, Any]:
    (members,) = explain(workplace, folder, identity, "--client", client_id)["clients"]
    assert members["client_id"] == client_id
    return dict(members)


def test_every_name_is_shown_with_its_type(shared: Workplace, tmp_path: Path, trusted: Authority) -> None:
    san = [dns("a.example"), uri("spiffe://a.example/x"), ip("192.0.2.1"), ip("2001:db8::1"), email("a@mail.example")]
    identity = trusted.issue(name("a", organization="Example"), san=san)
    facts = explain(shared, tmp_path, identity)
    assert facts["subject"] == "CN=a,O=Example"
    assert [(each["type"], each["value"]) for each in facts["subject_alternative_names"]] == [
        ("DNS", "a.example"),
        ("URI", "spiffe://a.example/x"),
        ("IP", "192.0.2.1"),
        ("IP", "2001:db8::1"),
        ("email", "a@mail.example"),
    ]
    assert (facts["key"], facts["key_strength"], facts["extended_key_usage"]) == ("EC P-256", 128, ["clientAuth"])
    assert len(facts["registrations"]) == 6
    assert facts["sha256"] == hashlib.sha256(identity.der).hexdigest()


HOSTILE = [
    'quo"te, comma+plus=equals\\backslash',
    " #leading and trailing ",
    "ünïcode 日本語 🔑",
    "right-to-left \u202egnp",
    "line\u2028separator",
]


@pytest.mark.parametrize("common_name", HOSTILE)
def test_a_registration_line_is_toml_and_matches(
    shared: Workplace, tmp_path: Path, trusted: Authority, common_name: str
) -> None:
    """Whatever stands in the subject, the line that is printed can be pasted, and registers exactly this subject."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    identity = trusted.issue(subject)
    file, _ = identity.write(tmp_path, "hostile")
    printed = shared.succeed("cert", "explain", str(file))
    (line,) = [line.strip() for line in printed.splitlines() if "tls_client_auth_subject_dn = " in line]
    (text,) = tomllib.loads(line).values()
    expected = parse_expected_subject(SubjectType.SUBJECT_DN, text)
    assert match_subject(expected, parse_certificate(identity.der)) is None


def test_nothing_in_a_certificate_steers_the_terminal(shared: Workplace, tmp_path: Path, trusted: Authority) -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\x1b[31m\r\nClients:\n  reports: accepted")])
    file, _ = trusted.issue(subject).write(tmp_path, "escape")
    printed = shared.succeed("cert", "explain", str(file))
    assert "\x1b" not in printed
    assert "\r" not in printed
    assert printed.splitlines().count("  reports: accepted") == 0


def test_the_right_certificate_is_accepted(shared: Workplace, tmp_path: Path, trusted: Authority) -> None:
    accepted = verdict(shared, tmp_path, trusted.issue(san=[dns("reports.example")]))
    assert (accepted["accepted"], accepted["reason"]) == (True, None)
    assert accepted["subject"]["matches"]


def test_an_intermediate_in_the_file_counts(shared: Workplace, tmp_path: Path, workplace: Workplace) -> None:
    root = Authority.create("Root")
    (workplace.folder / "certs" / "root.pem").write_text(root.pem)
    workplace.edit('anchors = ["certs/ca.pem"]', 'anchors = ["certs/root.pem"]')
    leaf = Authority.create("Intermediate", parent=root).issue(san=[dns("reports.example")])
    assert verdict(workplace, tmp_path, leaf)["accepted"]
    alone = Identity(leaf.certificate, leaf.private_key)
    assert verdict(workplace, tmp_path, alone)["reason"] == "untrusted_issuer"
    file, _ = leaf.write(tmp_path, "chain")
    assert "also in the file    CN=Intermediate" in workplace.succeed("cert", "explain", str(file))


def test_path_and_subject_are_both_told(shared: Workplace, tmp_path: Path) -> None:
    """Who brings the wrong CA and the wrong name wants to know both at once."""
    identity = Authority.create("Nobody's").issue(san=[dns("other.example")])
    refused = verdict(shared, tmp_path, identity)
    assert (refused["accepted"], refused["reason"]) == (False, "untrusted_issuer")
    assert refused["subject"] == {
        "type": "tls_client_auth_san_dns",
        "expected": "reports.example",
        "matches": False,
        "found": ["other.example"],
    }


def test_an_expired_certificate_is_told(shared: Workplace, tmp_path: Path, trusted: Authority) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    identity = trusted.issue(san=[dns("reports.example")], not_before=past, not_after=past + timedelta(days=1))
    assert verdict(shared, tmp_path, identity)["reason"] == "certificate_expired"
    file, _ = identity.write(tmp_path, "expired")
    assert "(expired)" in shared.succeed("cert", "explain", str(file))


def test_a_name_differs_attribute_by_attribute(shared: Workplace, tmp_path: Path, trusted: Authority) -> None:
    file, _ = trusted.issue(name("billing", organization="Exampel")).write(tmp_path, "typo")
    lines = shared.succeed("cert", "explain", str(file), "--client", "billing").splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("  billing: refused"))
    assert "subject_mismatch: tls_client_auth_subject_dn: RDN 2 of 2: O: " in lines[start]
    assert lines[start + 1 :] == ["    expected CN=billing,O=Example", "    found    CN=billing,O=Exampel"]


def test_der_is_read_too(workplace: Workplace) -> None:
    file = workplace.write("partner.der", self_signed("partner").der)
    assert "subject             CN=partner" in workplace.succeed("cert", "explain", file)


def test_without_a_configuration_the_certificate_is_explained_alone(workplace: Workplace) -> None:
    workplace.config.unlink()
    assert "there are no clients to ask about" in workplace.succeed("cert", "explain", "certs/reports.pem")
    explained = json.loads(workplace.succeed("cert", "explain", "certs/reports.pem", "--json"))
    assert explained["clients"] is None


@pytest.mark.parametrize("options", [("--client", "reports"), ("--config", "config.toml")])
def test_a_configuration_that_is_asked_for_must_be_there(workplace: Workplace, options: tuple[str, str]) -> None:
    workplace.config.unlink()
    message = workplace.fail("cert", "explain", "certs/reports.pem", *options)
    assert message == "config.toml: there is no such file"


def test_a_client_that_is_not_there_is_an_error(shared: Workplace) -> None:
    assert "there is no client nobody" in shared.fail("cert", "explain", "certs/reports.pem", "--client", "nobody")


def test_of_very_many_clients_only_some_are_asked(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others can be named."""
    monkeypatch.setattr(cert, "_MOST_STORED", 2)
    for number in range(4):
        workplace.succeed(
            "client", "add", "--client-id", f"c{number}", "--trust", "default", "--san-dns", f"{number}.example"
        )
    result = workplace.run("cert", "explain", "certs/reports.pem")
    assert "only 2 clients of the database were asked: name another with --client" in result.stderr
    assert "c1: refused" in result.stdout
    assert "c2: refused" not in result.stdout
    assert "c3: refused" in workplace.succeed("cert", "explain", "certs/reports.pem", "--client", "c3")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it holds no PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 of 1: "),
        (b"\x30\x82\xff\xff", "file.pem: "),
        (b"x" * (1024 * 1024 + 1), "it has more than 1048576 bytes"),
    ],
)
def test_what_is_no_certificate_is_named(workplace: Workplace, content: bytes, message: str) -> None:
    file = workplace.write("file.pem", content)
    answer = workplace.fail("cert", "explain", file)
    assert answer.startswith(file)
    assert message in answer


def test_a_folder_is_no_certificate(shared: Workplace) -> None:
    assert shared.fail("cert", "explain", "certs") == "certs: Is a directory"
