"""Loading trust domains: everything is checked, or nothing is loaded."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.presented import present
from mtls_as.pki.trust_domains import TrustConfigurationError, TrustDomains, TrustDomainSettings
from mtls_as.rfc.refusal import Refusal
from tests.authority import DAY, Authority, forge, key_usage, rdn, self_signed, tlv

ROOT = Authority.create("Root")
OTHER = Authority.create("Other")


def settings(*anchors: str, name: str = "partner", **others: Any) -> TrustDomainSettings:
    return TrustDomainSettings(name=name, anchors=anchors, **others)


def accepts(domains: TrustDomains, chain: tuple[bytes, ...], domain: str = "partner") -> bool:
    try:
        domains.verify(present(chain), domain=domain, at=datetime.now(UTC))
    except CertificateRefused:
        return False
    return True


def test_paths_globs_and_bundles(tmp_path: Path) -> None:
    """Relative to the base or absolute; every certificate of a file; each once."""
    (tmp_path / "anchors").mkdir()
    (tmp_path / "anchors" / "a.pem").write_text(ROOT.pem)
    (tmp_path / "anchors" / "b.pem").write_text(ROOT.pem + OTHER.pem)
    (tmp_path / "anchors" / "notes.txt").write_text("not a certificate")
    for anchors in (
        ["anchors/a.pem", "anchors/b.pem"],
        ["anchors/*.pem"],
        [str(tmp_path / "anchors" / "*.pem")],
        [str(tmp_path / "anchors" / "b.pem")],
        ["anchors/b.pem", "anchors/[ab].pem"],
    ):
        domains = TrustDomains.load([settings(*anchors)], base=tmp_path)
        assert accepts(domains, ROOT.issue().der_chain)
        assert accepts(domains, OTHER.issue().der_chain)


def test_a_base_with_glob_characters(tmp_path: Path) -> None:
    """Only the configured part is a pattern."""
    base = tmp_path / "a[b]*"
    base.mkdir()
    (base / "ca.pem").write_text(ROOT.pem)
    assert accepts(TrustDomains.load([settings("ca.pem")], base=base), ROOT.issue().der_chain)
    assert accepts(TrustDomains.load([settings("*.pem")], base=base), ROOT.issue().der_chain)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "ca.pem: No such file or directory"),
        (b"", "ca.pem: it holds no PEM certificate"),
        (b"garbage", "ca.pem: it holds no PEM certificate"),
        (ROOT.der, "ca.pem: it is DER, not PEM"),
        (ROOT.key_pem.encode(), "ca.pem: it holds a private key and no certificate"),
        (ROOT.pem.encode()[:300], "ca.pem: it holds a PEM certificate that is cut off"),
        ((ROOT.pem + OTHER.pem[:300]).encode(), "ca.pem: it holds a PEM certificate that is cut off"),
        (ROOT.issue("a").pem.encode(), "ca.pem: 'CN=a' is not the certificate of a CA: only CAs can be anchors"),
        ((ROOT.pem + ROOT.issue("x").pem).encode(), "ca.pem: 'CN=x' is not the certificate of a CA"),
        (self_signed("x").pem.encode(), "ca.pem: 'CN=x' is not the certificate of a CA"),
        (
            Authority.create("Mute", usage=key_usage(crl_sign=True)).pem.encode(),
            "ca.pem: 'CN=Mute' may not sign certificates: its key usage lacks keyCertSign",
        ),
        (b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----", "ca.pem: certificate 1 of 1: "),
    ],
)  # fmt: skip
def test_bad_anchors_name_the_domain_and_the_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Missing, empty, garbage, half written, a leaf: never an empty set, never fewer anchors than configured."""
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    (tmp_path / "good.pem").write_text(ROOT.pem)
    with pytest.raises(TrustConfigurationError) as caught:
        TrustDomains.load([settings("good.pem", name="good"), settings("good.pem", "ca.pem")], base=tmp_path)
    assert str(caught.value).startswith(f"trust domain 'partner': {tmp_path}")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        ([settings("*.crt")], "no file matches"),
        ([settings()], "trust domain 'partner': it has no anchors"),
        ([settings(".")], "Is a directory"),
        ([settings("ca.pem"), settings("ca.pem")], "trust domain 'partner': it is there twice"),
    ],
)
def test_bad_settings(tmp_path: Path, domains: list[TrustDomainSettings], message: str) -> None:
    """A glob without a match, no anchors at all, a folder, a domain that is there twice."""
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    with pytest.raises(TrustConfigurationError, match=message):
        TrustDomains.load(domains, base=tmp_path)


def test_expired_anchors_are_loaded_with_a_warning(tmp_path: Path) -> None:
    """During a roll-over they stand beside good ones."""
    now = datetime.now(UTC)
    old = Authority.create("Old", not_before=now - 2 * DAY, not_after=now - DAY)
    early = Authority.create("Early", not_before=now + DAY, not_after=now + 2 * DAY)
    (tmp_path / "ca.pem").write_text(old.pem + early.pem + ROOT.pem)
    domains = TrustDomains.load([settings("ca.pem")], base=tmp_path)
    assert [warning.split(": ", 2)[2].split(" on ")[0].split(" before ")[0] for warning in domains.warnings] == [
        "anchor 'CN=Old' expired",
        "anchor 'CN=Early' is not valid",
    ]
    assert accepts(domains, ROOT.issue().der_chain)
    assert TrustDomains.load([settings("ca.pem")], base=tmp_path, at=now - DAY - DAY / 2).warnings != domains.warnings


def test_an_unknown_domain_trusts_nothing(tmp_path: Path) -> None:
    """A client cannot name a domain into being."""
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    domains = TrustDomains.load([settings("ca.pem")], base=tmp_path)
    for name in ("", "Partner", "other"):
        with pytest.raises(CertificateRefused) as caught:
            domains.verify(present(ROOT.issue().der_chain), domain=name, at=datetime.now(UTC))
        assert caught.value.refusal is Refusal.UNKNOWN_TRUST_DOMAIN


def test_no_domains_at_all(tmp_path: Path) -> None:
    """A server whose clients all have self-signed certificates needs none."""
    assert TrustDomains.load([], base=tmp_path).names == ()


def test_names_and_generation(tmp_path: Path) -> None:
    """In the order of the configuration; the caller counts the loads."""
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    configured = [settings("ca.pem", name="b"), settings("ca.pem", name="a")]
    first = TrustDomains.load(configured, base=tmp_path)
    second = TrustDomains.load(configured, base=tmp_path, generation=first.generation + 1)
    assert first.names == ("b", "a")
    assert (first.generation, second.generation) == (1, 2)


def test_a_removed_ca_is_gone_with_its_verdicts(tmp_path: Path) -> None:
    """The new set remembers nothing of the old one; the old one stays whole for who still holds it."""
    (tmp_path / "ca.pem").write_text(ROOT.pem + OTHER.pem)
    old, chain = TrustDomains.load([settings("ca.pem")], base=tmp_path), OTHER.issue().der_chain
    assert accepts(old, chain)
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    new = TrustDomains.load([settings("ca.pem")], base=tmp_path, generation=2)
    assert not accepts(new, chain)
    assert accepts(old, chain)


def test_an_anchor_that_openssl_cannot_read(tmp_path: Path) -> None:
    """A value of a context-specific type in its name."""
    subject = tlv(0x30, rdn("2.5.4.3", 0x8C, b"x"))
    (tmp_path / "ca.pem").write_text(_pem(forge(ROOT, ROOT, subject=subject)))
    with pytest.raises(TrustConfigurationError, match=r"'CN=#8c0178' cannot be read by OpenSSL"):
        TrustDomains.load([settings("ca.pem")], base=tmp_path)


def test_a_ca_with_an_unreadable_key_is_loaded_with_a_warning(tmp_path: Path) -> None:
    """It can vouch for nothing."""
    weak = forge(ROOT, ROOT, public_key_info=bytes.fromhex("300c300606042a030405030200ff"))
    (tmp_path / "ca.pem").write_text(ROOT.pem + _pem(weak))
    domains = TrustDomains.load([settings("ca.pem")], base=tmp_path)
    assert "can vouch for nothing: its key, algorithm 1.2.3.4.5, is weaker" in domains.warnings[0]


def _pem(der: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(der)
