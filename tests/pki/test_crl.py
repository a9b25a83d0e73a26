"""Revocation lists: what is read, what is refused, whose signature counts (RFC 5280 §5)."""

import gc
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.pki.crl import CLOCK_SKEW, CRLError, CRLScope, parse_crl, parse_crls
from mtls_as.rfc.rfc5280_certificate import Certificate, parse_certificate
from tests.authority import DAY, HOUR, Authority, Identity, key_usage, new_key
from tests.programs import require_program
from tests.revocation_lists import forge_crl, issue_crl

CA = Authority.create("CRL CA")
REVOKED = CA.issue("revoked")
GOOD = CA.issue("good")
MADE_AT = datetime.now(UTC)
LIST = issue_crl(CA, [REVOKED], number=7, reason=x509.ReasonFlags.key_compromise)


def read(identity: Identity) -> Certificate:
    return parse_certificate(identity.der)


def point(**members: object) -> x509.IssuingDistributionPoint:
    every: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(every | members))  # type: ignore[arg-type] # the members of the test


def test_what_a_list_says() -> None:
    """Issuer, number, dates and entries with their reason and date."""
    crl = parse_crl(LIST)
    assert str(crl.issuer) == "CN=CRL CA"
    assert (crl.number, crl.base_number, crl.scope, len(crl)) == (7, None, CRLScope.ALL, 1)
    found = crl.find(REVOKED.certificate.serial_number)
    assert found is not None
    assert found.reason == "keyCompromise"
    assert not found.is_removal
    assert abs(found.at - (MADE_AT - HOUR)) < timedelta(minutes=1)
    assert crl.find(GOOD.certificate.serial_number) is None


def test_an_entry_without_a_reason_is_unspecified() -> None:
    """RFC 5280 §5.3.1."""
    found = parse_crl(issue_crl(CA, [REVOKED])).find(REVOKED.certificate.serial_number)
    assert found is not None
    assert found.reason == "unspecified"


def test_an_empty_list_is_a_list() -> None:
    """Nothing is revoked: the entries are absent (RFC 5280 §5.1.2.6)."""
    assert len(parse_crl(issue_crl(CA))) == 0


def test_pem_files_hold_any_number_of_lists() -> None:
    """As other servers take them: the lists of a root and its intermediates in one file."""
    other = Authority.create("Other CA")
    lists = parse_crls(issue_crl(CA, pem=True) + b"# comment\n" + issue_crl(other, pem=True))
    assert [str(crl.issuer) for crl in lists] == ["CN=CRL CA", "CN=Other CA"]
    assert parse_crls(LIST)[0].sha256 == parse_crl(LIST).sha256


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30\x00",
        b"<html></html>",
        LIST[:-1],
        LIST + b"\x00",
        issue_crl(CA, pem=True)[:-30],
        b"-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n",
        b"-----BEGIN X509 CRL-----\nAAAA=A\n-----END X509 CRL-----\n",
        CA.der,
    ],
    ids=["empty", "sequence", "html", "cut", "trailing", "cut PEM", "not base64", "bad base64", "certificate"],
)
def test_garbage(data: bytes) -> None:
    """What is no list raises `CRLError`."""
    with pytest.raises(CRLError):
        parse_crls(data)


@given(st.integers(0, len(LIST) - 1), st.integers(0, 255), st.binary(max_size=40))
def test_hostile_octets_raise_one_error(position: int, octet: int, tail: bytes) -> None:
    """Whatever stands in the octets, only `CRLError` escapes."""
    for data in (LIST[:position] + bytes([octet]) + LIST[position + 1 :], LIST[:position] + tail, tail):
        try:
            parse_crls(data)
        except CRLError:
            continue


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (forge_crl(CA, next_update=False), "no nextUpdate"),
        (forge_crl(CA, sha1=True), "sha1"),
        (forge_crl(CA, inner_algorithm="1.2.840.10045.4.3.3"), "two different signature algorithms"),
        (issue_crl(CA, extensions=[(point(indirect_crl=True), True)]), "indirect"),
        (issue_crl(CA, extensions=[(point(only_some_reasons=frozenset({x509.ReasonFlags.superseded})), True)]), "some"),
        (issue_crl(CA, extensions=[(point(only_contains_attribute_certs=True), True)]), "attribute"),
        (
            issue_crl(CA, extensions=[(point(full_name=[x509.UniformResourceIdentifier("http://a.example/")]), True)]),
            "distribution point",
        ),
        (
            issue_crl(
                CA, extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]
            ),
            "critical extension 1.2.3.4",
        ),
        (
            issue_crl(
                CA,
                [REVOKED],
                entry_extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)],
            ),
            "entry has the critical extension",
        ),
        (
            issue_crl(
                CA,
                [REVOKED],
                entry_extensions=[(x509.CertificateIssuer([x509.DirectoryName(CA.certificate.subject)]), True)],
            ),
            "another CA",
        ),
        (issue_crl(CA, [REVOKED], reason=x509.ReasonFlags.remove_from_crl), "takes a revocation back"),
        (issue_crl(CA, number=None, delta_of=1), "without a number"),
    ],
)
def test_lists_that_are_not_used(data: bytes, reason: str) -> None:
    """What a list says must be understood in full, else it is not used (RFC 5280 §5.2, §5.3)."""
    with pytest.raises(CRLError, match=reason):
        parse_crl(data)


def test_extensions_that_are_not_critical_are_passed_over() -> None:
    """RFC 5280 §5.2: an unknown extension matters only if it is critical."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert parse_crl(issue_crl(CA, [REVOKED], extensions=[(unknown, False)], entry_extensions=[(unknown, False)]))


def test_lists_for_one_kind_of_certificate() -> None:
    """A list of end-entity certificates says nothing of CAs, and the other way round (RFC 5280 §5.2.5)."""
    users = parse_crl(issue_crl(CA, extensions=[(point(only_contains_user_certs=True), True)])).scope
    authorities = parse_crl(issue_crl(CA, extensions=[(point(only_contains_ca_certs=True), True)])).scope
    leaf, ca = read(GOOD), read(CA)
    assert (users.covers(leaf), users.covers(ca)) == (True, False)
    assert (authorities.covers(leaf), authorities.covers(ca)) == (False, True)


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519", "Ed448"])
def test_the_signature_counts(kind: str) -> None:
    """Lists of every kind of key are verified, and a namesake with another key of the kind is told apart."""
    ca, namesake = (Authority.create("Twin", private_key=new_key(kind)) for _ in range(2))
    crl = parse_crl(issue_crl(ca))
    assert crl.shortcoming_of_issuer(read(ca)) is None
    assert "not by the key" in (crl.shortcoming_of_issuer(read(namesake)) or "")
    assert "not by the key" in (crl.shortcoming_of_issuer(read(Authority.create("Twin"))) or "")


def test_the_issuer_is_compared_by_name_and_usage() -> None:
    """A CA of another name with the same key, and a CA that may not sign lists, are not the issuer (§6.3.3)."""
    renamed = Authority.create("Another name", private_key=CA.private_key)
    unfit = Authority.create("CRL CA", private_key=CA.private_key, usage=key_usage(key_cert_sign=True))
    crl = parse_crl(LIST)
    assert "another name" in (crl.shortcoming_of_issuer(read(renamed)) or "")
    assert "cRLSign" in (crl.shortcoming_of_issuer(read(unfit)) or "")


def test_a_changed_octet_breaks_the_signature() -> None:
    """An entry that was altered after signing."""
    serial = REVOKED.certificate.serial_number
    changed = LIST.replace(serial.to_bytes(20).lstrip(b"\x00"), (serial ^ 1).to_bytes(20).lstrip(b"\x00"))
    assert changed != LIST
    assert "not by the key" in (parse_crl(changed).shortcoming_of_issuer(read(CA)) or "")


def test_the_dates_are_judged_at_the_time_of_the_request() -> None:
    """thisUpdate with a little tolerance for clocks, nextUpdate with the configured grace."""
    now = datetime.now(UTC).replace(microsecond=0)
    crl = parse_crl(issue_crl(CA, this_update=now, next_update=now + HOUR))
    second = timedelta(seconds=1)
    assert crl.shortcoming_at(now - CLOCK_SKEW) is None
    assert "not valid before" in (crl.shortcoming_at(now - CLOCK_SKEW - second) or "")
    assert crl.shortcoming_at(now + HOUR) is None
    assert "ended at" in (crl.shortcoming_at(now + HOUR + second) or "")
    assert crl.shortcoming_at(now + HOUR + second, grace=timedelta(seconds=10)) is None


def test_numbers_and_times_never_go_back() -> None:
    """A replayed list is older by its number, or by its date where there are no numbers."""
    now = datetime.now(UTC)
    newer = parse_crl(issue_crl(CA, number=8, this_update=now))
    assert parse_crl(LIST).is_older_than(newer)
    assert not newer.is_older_than(parse_crl(LIST))
    assert parse_crl(issue_crl(CA, number=9, this_update=now - DAY)).is_older_than(newer)
    assert parse_crl(issue_crl(CA, number=None)).is_older_than(newer)


def test_deltas_continue_their_base() -> None:
    """RFC 5280 §5.2.4: the base must have the number that the delta names, or a later one."""
    delta = parse_crl(issue_crl(CA, number=9, delta_of=7))
    assert delta.is_delta
    assert delta.continues(parse_crl(LIST))
    assert not delta.continues(parse_crl(issue_crl(CA, number=6)))
    assert not delta.continues(parse_crl(issue_crl(CA, number=None)))
    users = parse_crl(issue_crl(CA, number=7, extensions=[(point(only_contains_user_certs=True), True)]))
    assert not delta.continues(users)
    assert not parse_crl(LIST).continues(parse_crl(LIST))


def test_a_delta_takes_back() -> None:
    """`removeFromCRL` stands in delta lists alone."""
    found = parse_crl(issue_crl(CA, [5], number=9, delta_of=7, reason=x509.ReasonFlags.remove_from_crl)).find(5)
    assert found is not None
    assert found.is_removal


def test_a_list_by_openssl(tmp_path: Path) -> None:
    """What `openssl ca -gencrl` writes is read and verified."""
    openssl = require_program("openssl")
    CA.write(tmp_path, "ca")
    (tmp_path / "index.txt").write_text(f"R\t301231235959Z\t250101000000Z,keyCompromise\t{0x1234:X}\tunknown\t/CN=x\n")
    (tmp_path / "number").write_text("0A\n")
    (tmp_path / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ncertificate=ca.pem\nprivate_key=ca-key.pem\n"
        "default_md=sha256\ndefault_crl_days=1\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n"
    )
    subprocess.run(
        [openssl, "ca", "-gencrl", "-config", "ca.cnf", "-out", "a.crl"], cwd=tmp_path, check=True, capture_output=True
    )
    (crl,) = parse_crls((tmp_path / "a.crl").read_bytes())
    assert crl.number == 10
    assert crl.shortcoming_of_issuer(read(CA)) is None
    found = crl.find(0x1234)
    assert found is not None
    assert (found.reason, found.at) == ("keyCompromise", datetime(2025, 1, 1, tzinfo=UTC))


_MEASURE = """
import sys, time
from mtls_as.pki.crl import parse_crls
def peak_bytes():  # getrusage would tell the peak of the process that forked this one
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
data = open(sys.argv[1], "rb").read()
before = peak_bytes()
started = time.perf_counter()
crl, = parse_crls(data)
loaded = time.perf_counter() - started
peak = peak_bytes() - before
started = time.perf_counter()
for serial in range(100_000):
    crl.find(serial)
each = (time.perf_counter() - started) / 100_000
print(len(crl), loaded, peak / 1e6, each * 1e6)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory by way of /proc")
def test_two_hundred_thousand_entries(tmp_path: Path) -> None:
    """Loaded under 5 s and 200 MB, looked up under 10 µs."""
    source = random.Random(1)
    serials = [source.getrandbits(150) | 1 << 158 for _ in range(200_000)]
    file = tmp_path / "large.crl"
    file.write_bytes(forge_crl(CA, serials))
    program = [sys.executable, "-c", _MEASURE, str(file)]
    output = subprocess.run(program, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout
    entries, seconds, megabytes, microseconds = map(float, output.split())
    figures = f"{seconds:.2f} s, {megabytes:.0f} MB, {microseconds:.2f} µs"
    assert entries == 200_000
    assert seconds < 5, figures
    assert megabytes < 200, figures
    assert microseconds < 10, figures


@pytest.mark.slow
def test_looking_up_takes_no_longer_in_a_larger_list() -> None:
    """A hundred times the entries, the same time to the order of magnitude."""
    source = random.Random(2)
    times = []
    for count in (1_000, 100_000):
        serials = [source.getrandbits(150) | 1 << 158 for _ in range(count)]
        crl = parse_crl(forge_crl(CA, serials))
        wanted = source.sample(serials, 1_000) * 20
        gc.collect()
        started = time.perf_counter()
        assert all(crl.find(serial) for serial in wanted)
        times.append(time.perf_counter() - started)
    assert times[1] < 5 * times[0]
