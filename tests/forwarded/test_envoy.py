"""`X-Forwarded-Client-Cert`: which element speaks, and who could move its boundary."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.forwarded import ForwardedCertificateError, ForwardingFault, read_forwarded
from tests.authority import Authority, uri
from tests.forwarded.vectors import lonely, pem, short_chain, victim, with_every_character, xfcc, xfcc_text

DIGEST = hashlib.sha256(lonely().der).hexdigest()
CERT = xfcc_text(pem(lonely().der))
OWN = xfcc(lonely().der_chain)
FORGED = xfcc(victim().der_chain)


def read(value: str) -> tuple[bytes, ...] | None:
    return read_forwarded([(b"x-forwarded-client-cert", value.encode())], preset="envoy")


def fault_of(value: str) -> ForwardingFault:
    with pytest.raises(ForwardedCertificateError) as caught:
        read(value)
    return caught.value.fault


def test_only_the_last_element_speaks() -> None:
    """The proxy in front of us added it; what a client sent stands before it."""
    assert read(f"{FORGED},{OWN}") == lonely().der_chain
    assert read(f"{FORGED}, {FORGED} ,\t{OWN}") == lonely().der_chain
    assert read(f"{xfcc(short_chain().der_chain)},{OWN}") == lonely().der_chain


@pytest.mark.parametrize(
    "forgery",
    [
        '"',
        'Subject="',
        'Cert="',
        f'{FORGED};Extra="',
        f'{FORGED},Extra="',
        f'{FORGED};Extra="\\',
        f'{FORGED};Extra="\\"',
        f"{FORGED};Extra=\\",
        f'{FORGED};Extra=\\"',
        f'{FORGED.partition(";Chain")[0]};Subject="',
        f'Hash={hashlib.sha256(victim().der).hexdigest()};Cert="{xfcc_text(pem(victim().der))}";x="',
        f'{FORGED}"',
        f'"{FORGED}',
        f'x=";{FORGED}',
    ],
)  # fmt: skip
def test_a_forged_quotation_mark_does_not_move_the_boundary(forgery: str) -> None:
    """With APPEND_FORWARD a client's text stands before the proxy's element: it may spoil it, and not replace it."""
    with contextlib.suppress(ForwardedCertificateError):
        assert read(f"{forgery},{OWN}") == lonely().der_chain


@given(
    st.lists(
        st.sampled_from(
            ['"', "\\", ",", ";", "=", " ", "x", "Cert=", "Hash=", "Subject=", 'k="', FORGED, FORGED[:-14]]
        ),
        max_size=8,
    ).map("".join)
)
def test_no_prefix_replaces_the_proxys_element(prefix: str) -> None:
    """Whatever the client put in front, the victim's certificate does not come out."""
    with contextlib.suppress(ForwardedCertificateError):
        assert read(f"{prefix},{OWN}") == lonely().der_chain


@pytest.mark.parametrize("details", ["cert", "chain", "subject", "uri"])
def test_an_element_cannot_be_swallowed(details: str) -> None:
    """Nor if Envoy forwards too little, when a name in the client's certificate could close what its prefix opened."""
    own = (
        f"By=spiffe://proxy.example/envoy;Hash={DIGEST};"
        + {
            "cert": f'Cert="{CERT}";URI=x"',
            "chain": f'Chain="{CERT}";URI=x"',
            "subject": 'Subject="";URI=x"',
            "uri": 'URI=x"',
        }[details]
    )
    with pytest.raises(ForwardedCertificateError):
        read(f'{FORGED};k=",{own}')


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("form", ["{forged}", "{hash};{cert}", "{cert};{hash}", "{cert}"])
@pytest.mark.parametrize("shown", ["cert", "subject"])
def test_a_name_in_a_certificate_adds_no_element(separator: str, form: str, shown: str) -> None:
    """Envoy does not escape URIs, so a certificate can carry the text of an element with somebody else's in it."""
    cert, digest = f'Cert="{xfcc_text(pem(victim().der))}"', f"Hash={hashlib.sha256(victim().der).hexdigest()}"
    smuggled = f"spiffe://a{separator}" + form.format(forged=FORGED, hash=digest, cert=cert)
    attacker = Authority.create().issue("attacker", san=[uri(smuggled)]).der_chain
    element = xfcc(attacker, uris=(smuggled,))
    if shown == "subject":  # Envoy is told to forward no certificate; then nobody gets in, and the attacker neither
        element = element.replace(f'Cert="{xfcc_text(pem(attacker[0]))}";Chain="{xfcc_text(pem(attacker[0]))}";', "")
        assert "CERTIFICATE" in element
    for value in (element, f"{OWN},{element}", f"{element},{element}"):
        with contextlib.suppress(ForwardedCertificateError):
            assert read(value) == attacker
    if separator == "," and form == "{hash};{cert}" and shown == "cert":
        assert fault_of(element) is ForwardingFault.FORGED_ELEMENT


def test_values_in_quotation_marks_may_hold_separators() -> None:
    """Commas, semicolons, equals signs and escaped quotation marks divide nothing there."""
    for subject in (
        "CN=a,OU=b", "CN=a;OU=b", r"CN=a\"\,b", r"CN=a\\", r"\"", ",", ";", "CN=\\C3\\BC", 'x\\",Cert=\\"y',
    ):  # fmt: skip
        assert read(xfcc(lonely().der_chain, subject=subject)) == lonely().der_chain
        assert read(f'Subject="{subject}";{OWN.replace("Subject", "Issuer")}') == lonely().der_chain


def test_keys_come_in_any_case_and_order() -> None:
    """Envoy's documentation: keys are case-insensitive; unquoted values and unknown keys are allowed."""
    assert read(f'CERT="{CERT}";HASH={DIGEST.upper()}') == lonely().der_chain
    assert read(f'hash="{DIGEST}";New-Key="a;b";cert={CERT}') == lonely().der_chain
    assert read(f"URI=spiffe://a?b=c;URI=;DNS=;By=;Hash={DIGEST};Cert={CERT}") == lonely().der_chain


def test_the_chain_begins_with_the_leaf() -> None:
    """Envoy's documentation: Chain includes it."""
    leaf, issuer, _ = short_chain().der_chain
    digest = hashlib.sha256(leaf).hexdigest()

    def element(chain: str) -> str:
        return f'Hash={digest};Cert="{xfcc_text(pem(leaf))}";Chain="{xfcc_text(chain)}"'

    assert read(element(pem(leaf) + pem(issuer))) == (leaf, issuer)
    assert read(element("")) == (leaf,)
    assert fault_of(element(pem(issuer))) is ForwardingFault.CHAIN_MISMATCH
    assert fault_of(element(pem(issuer) + pem(leaf))) is ForwardingFault.CHAIN_MISMATCH


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (f'Cert="{CERT}"', ForwardingFault.HASH_MISSING),
        (f'Hash=;Cert="{CERT}"', ForwardingFault.HASH_MISSING),
        (f'Hash={"0" * 64};Cert="{CERT}"', ForwardingFault.HASH_MISMATCH),
        (f'Hash={DIGEST[:-1]};Cert="{CERT}"', ForwardingFault.HASH_MISMATCH),
        (f'Hash="{DIGEST} ";Cert="{CERT}"', ForwardingFault.HASH_MISMATCH),
        (f"Hash={DIGEST}", ForwardingFault.CERTIFICATE_MISSING),
        (f'Hash={DIGEST};Cert=""', ForwardingFault.CERTIFICATE_MISSING),
        (f'Hash={DIGEST};Chain="{CERT}"', ForwardingFault.CERTIFICATE_MISSING),
        (f"{OWN},Hash={DIGEST};URI=x", ForwardingFault.CERTIFICATE_MISSING),
        (f"Hash={DIGEST};URI=x,{OWN}", ForwardingFault.CERTIFICATE_MISSING),
        (f'Hash={DIGEST};Cert="{CERT}{CERT}"', ForwardingFault.SEVERAL_CERTIFICATES),
        (f'Hash={DIGEST};Cert="{CERT}";Cert="{CERT}"', ForwardingFault.BROKEN_FIELD),
        (f'Hash={DIGEST};hash={DIGEST};Cert="{CERT}"', ForwardingFault.BROKEN_FIELD),
        (f'Subject="";{OWN}', ForwardingFault.BROKEN_FIELD),
        (f"{OWN},", ForwardingFault.BROKEN_FIELD),
        (f"{OWN};", ForwardingFault.BROKEN_FIELD),
        (f",{OWN}", ForwardingFault.BROKEN_FIELD),
        (f";{OWN}", ForwardingFault.BROKEN_FIELD),
        (f"x,{OWN}", ForwardingFault.BROKEN_FIELD),
        (f"=x,{OWN}", ForwardingFault.BROKEN_FIELD),
        (f'Hash={DIGEST};Cert="{CERT}"x', ForwardingFault.BROKEN_FIELD),
        (f'Hash={DIGEST};Cert="{CERT}', ForwardingFault.BROKEN_FIELD),
        (f'Hash={DIGEST};Cert="{CERT}\\"', ForwardingFault.BROKEN_FIELD),
        (f'Hash={DIGEST} ;Cert="{CERT}"', ForwardingFault.BROKEN_FIELD),
        (f'Hash={DIGEST};Cert="{CERT}%"', ForwardingFault.BROKEN_PERCENT_ENCODING),
        (f'Hash={DIGEST};Cert="\\{CERT}"', ForwardingFault.BROKEN_PEM),
        (f'Hash={DIGEST};Cert="junk{CERT}"', ForwardingFault.BROKEN_PEM),
    ],
    ids=lambda value: value if isinstance(value, ForwardingFault) else "",
)  # fmt: skip
def test_an_element_is_exact(value: str, fault: ForwardingFault) -> None:
    """Cert and Hash once each and in agreement, pairs and nothing else."""
    assert fault_of(value) is fault


def test_any_certificate_does() -> None:
    """The vectors are made anew in each run; this one has the characters that percent-encoding is for."""
    other = with_every_character(lambda: Authority.create().issue("other"))
    assert read(xfcc(other.der_chain[:1])) == other.der_chain[:1]
