"""`cert explain` on trust: the path, the anchor, the setting that refuses, and what is known of revocation."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_as.rfc.rfc7517_jwk import public_jwk
from tests.authority import Authority, Identity, dns, signature_hash, uri
from tests.cli.workplace import Workplace

NAME = dns("reports.example")


@pytest.fixture
def root() -> Authority:
    return Authority.create("Partner Root")


@pytest.fixture
def partner(workplace: Workplace, root: Authority) -> Workplace:
    """A workplace whose trust domain `default` relies on that root."""
    workplace.write("certs/root.pem", root.pem)
    workplace.edit('anchors = ["certs/ca.pem"]', 'anchors = ["certs/root.pem"]')
    return workplace


def explain(workplace: Workplace, identity: Identity, *options: str) -> dict[str, Any]:
    """What it says in JSON, for the client `reports`."""
    file = workplace.write("explained.pem", identity.chain_pem)
    explained: dict[str, Any] = json.loads(
        workplace.succeed("cert", "explain", file, "--client", "reports", *options, "--json")
    )
    return explained


def domain(workplace: Workplace, identity: Identity) -> dict[str, Any]:
    [said] = explain(workplace, identity)["trust_domains"]
    assert said["domain"] == "default"
    return dict(said)


def printed(workplace: Workplace, identity: Identity, *options: str) -> list[str]:
    """The lines below `Trust domains:`."""
    file = workplace.write("explained.pem", identity.chain_pem)
    lines = workplace.succeed("cert", "explain", file, *options).splitlines()
    start = lines.index("Trust domains:")
    return lines[start + 1 : lines.index("", start)]


def test_the_path_is_told_certificate_by_certificate(partner: Workplace, root: Authority) -> None:
    """From the leaf to the anchor that was used."""
    leaf = Authority.create("Issuing CA", parent=root).issue("reports", san=[NAME])
    said = domain(partner, leaf)
    assert said["trusted"]
    assert [step["subject"] for step in said["path"]] == ["CN=reports", "CN=Issuing CA", "CN=Partner Root"]
    assert said["anchor"]["sha256"] == root.certificate.fingerprint(hashes.SHA256()).hex()
    assert said["revocation"] == []
    first, *steps = printed(partner, leaf, "--client", "reports")
    assert first == "  default: trusted"
    assert [step.split(" (")[0] for step in steps] == [
        "    leaf    CN=reports",
        "    issuer  CN=Issuing CA",
        "    anchor  CN=Partner Root",
    ]


def test_the_path_is_told_although_the_subject_is_wrong(partner: Workplace, root: Authority) -> None:
    """Two questions, two answers."""
    explained = explain(partner, root.issue("reports", san=[dns("other.example")]))
    assert explained["trust_domains"][0]["trusted"]
    assert explained["clients"][0]["reason"] == "subject_mismatch"


def test_the_setting_that_refuses_is_named(partner: Workplace, root: Authority) -> None:
    """As it stands in the configuration."""
    leaf = root.issue("reports", san=[NAME], extended_key_usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    said = domain(partner, leaf)
    assert (said["trusted"], said["reason"]) == (False, "wrong_extended_key_usage")
    assert said["policy"] == '[trust.default] extended_key_usage = "clientAuth"'
    assert printed(partner, leaf)[1] == '    asked for by: [trust.default] extended_key_usage = "clientAuth"'
    partner.edit('extended_key_usage = "clientAuth"', 'extended_key_usage = "any"')
    assert domain(partner, leaf)["trusted"]


def test_domains_without_a_path_are_only_counted(partner: Workplace) -> None:
    """There may be a thousand; with a client, its own is told in full."""
    stranger = Authority.create("Nobody's").issue("reports", san=[NAME])
    assert printed(partner, stranger) == ["  1 without a path to it, untrusted_issuer"]
    assert printed(partner, stranger, "--client", "reports")[0].startswith("  default: refused, untrusted_issuer: ")


def test_revocation_is_told_with_its_source_and_age(partner: Workplace, root: Authority) -> None:
    """A list in a file, three hours old."""
    leaf = root.issue("reports", san=[NAME])
    partner.write("certs/root.crl", revocation_list(root, hours=3))
    partner.edit("\ncrl = []", '\ncrl = ["certs/root.crl"]')
    said = domain(partner, leaf)
    [check] = said["revocation"]
    assert (check["status"], check["kind"], check["number"], check["subject"]) == ("good", "crl", 7, "CN=reports")
    assert check["source"].endswith("certs/root.crl")
    assert check["age_seconds"] // 3600 == 3
    line = printed(partner, leaf, "--client", "reports")[-1]
    assert line.startswith("    revoked? CN=reports: good, by crl ")
    assert "certs/root.crl number 7, 3 hours old, next update " in line


def test_a_revoked_certificate_says_by_which_list(partner: Workplace, root: Authority) -> None:
    leaf = root.issue("reports", san=[NAME])
    partner.write("certs/root.crl", revocation_list(root, leaf, hours=3))
    partner.edit("\ncrl = []", '\ncrl = ["certs/root.crl"]')
    said = domain(partner, leaf)
    assert said["reason"] == "certificate_revoked"
    assert "certs/root.crl" in said["detail"]
    assert explain(partner, leaf)["clients"][0]["reason"] == "certificate_revoked"


def test_a_list_that_is_too_old_refuses_by_the_domains_setting(partner: Workplace, root: Authority) -> None:
    """Closed, unless it says open."""
    leaf = root.issue("reports", san=[NAME])
    partner.write("certs/root.crl", revocation_list(root, hours=100))
    partner.edit("\ncrl = []", '\ncrl = ["certs/root.crl"]')
    said = domain(partner, leaf)
    assert (said["reason"], said["policy"]) == ("revocation_unknown", '[trust.default] revocation = "closed"')
    partner.edit('revocation = "closed"', 'revocation = "open"')
    [check] = domain(partner, leaf)["revocation"]
    assert (check["status"], check["source"]) == ("unknown", None)
    assert "let through because revocation fails open" in printed(partner, leaf, "--client", "reports")[-1]


def test_a_spiffe_id_is_asked_of_its_own_trust_domain(partner: Workplace, root: Authority) -> None:
    """Its bundle is not an anchor of any other domain."""
    spiffe_root = Authority.create("SPIRE", extensions=[_san("spiffe://workloads.example")])
    partner.write("bundle.json", bundle_of(spiffe_root))
    with _appended(partner, '[spiffe."workloads.example"]\nbundle = "bundle.json"\n'):
        svid = spiffe_root.issue("w", san=[uri("spiffe://workloads.example/reports")])
        file = partner.write("svid.pem", svid.pem)
        explained = json.loads(partner.succeed("cert", "explain", file, "--json"))
    ours, theirs = explained["trust_domains"]
    assert (ours["domain"], ours["trusted"]) == ("default", False)
    assert (theirs["domain"], theirs["spiffe"], theirs["trusted"]) == ("workloads.example", True, True)
    assert [step["subject"] for step in theirs["path"]] == ["CN=w", "CN=SPIRE"]


@contextmanager
def _appended(workplace: Workplace, text: str) -> Iterator[None]:
    before = workplace.config.read_text()
    workplace.config.write_text(f"{before}\n{text}")
    yield
    workplace.config.write_text(before)


def revocation_list(authority: Authority, *revoked: Identity, hours: float) -> bytes:
    """A list of that age, good for two days from then."""
    made = datetime.now(UTC) - timedelta(hours=hours)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(made)
        .next_update(made + timedelta(days=2))
        .add_extension(x509.CRLNumber(7), critical=False)
    )
    for identity in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(identity.certificate.serial_number).revocation_date(made)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.private_key, signature_hash(authority.private_key)).public_bytes(Encoding.PEM)


def _san(text: str) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName([uri(text)]), False


def bundle_of(authority: Authority) -> str:
    """The bundle of a SPIFFE trust domain with one authority."""
    key = public_jwk(authority.private_key.public_key(), kid="1", algorithm="ES256")  # type: ignore[arg-type] # P-256
    members = {name: value for name, value in key.items() if name not in {"kid", "alg"}}
    certificate = {"use": "x509-svid", "x5c": [base64.b64encode(authority.der).decode()]}
    return json.dumps({"keys": [members | certificate], "spiffe_sequence": 1, "spiffe_refresh_hint": 300})
