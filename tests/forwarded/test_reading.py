"""Every preset: golden vectors, round trips, what all of them refuse, and hostile input."""

import contextlib
from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtls_as.forwarded import (
    MAX_FORWARDED_BYTES,
    PRESETS,
    ForwardedCertificateError,
    ForwardingFault,
    read_forwarded,
)
from mtls_as.pki.presented import present
from tests.authority import Identity
from tests.forwarded.vectors import (
    PROXIES,
    Proxy,
    body,
    envoy,
    lonely,
    long_chain,
    pem,
    rfc9440,
    short_chain,
    victim,
)

each_proxy = pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
each_preset = pytest.mark.parametrize("preset", PRESETS)


def read(proxy: Proxy, headers: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, ...] | None:
    return read_forwarded(headers, preset=proxy.preset, chain_header=proxy.chain_header)


def fault_of(preset: str, *headers: tuple[bytes, bytes], **names: str) -> ForwardingFault:
    with pytest.raises(ForwardedCertificateError) as caught:
        read_forwarded(headers, preset=preset, **names)
    assert caught.value.detail
    return caught.value.fault


def default_header(preset: str) -> bytes:
    return PRESETS[preset].headers[0].encode()


@each_proxy
@pytest.mark.parametrize("make", [lonely, short_chain, long_chain])
def test_what_the_proxy_forwards_is_read_back(proxy: Proxy, make: Callable[[], Identity]) -> None:
    """The very octets, leaf first, among other headers; and they are a certificate."""
    chain = make().der_chain
    headers = [(b"host", b"as.example"), *proxy.forward(chain), (b"accept", b"*/*")]
    expected = chain if proxy.forwards_chain else chain[:1]
    assert read(proxy, headers) == expected
    assert present(expected).leaf.der == chain[0]


@each_proxy
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=10, unique=True))
def test_round_trip_of_any_octets(proxy: Proxy, contents: list[bytes]) -> None:
    """Whatever the certificates hold, the same octets come out."""
    chain = tuple(b"\x30\x82" + (len(c) + 256).to_bytes(2) + bytes(256) + c for c in contents)
    assert read(proxy, proxy.forward(chain)) == (chain if proxy.forwards_chain else chain[:1])


VALUES = (
    st.binary(max_size=300)
    | st.text('%:,;="\\+/AQid 0(nul)-BEGINCRT', max_size=120).map(str.encode)
    | st.lists(
        st.sampled_from(
            [
                *(value for proxy in PROXIES.values() for _, value in proxy.forward(lonely().der_chain)),
                b",", b";", b'"', b"\\", b"%", b" ", b"=", b":", b"%0A", b'Cert="', b"Hash=", b"(null)", b"SUCCESS",
                b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"MAA=", b"\x00", b"\xff",
            ]
        ),
        max_size=5,
    ).map(b"".join)
)  # fmt: skip


@each_preset
@given(st.lists(VALUES, max_size=2))
@example([b"MAA="])
def test_any_value_parses_or_is_one_error(preset: str, values: list[bytes]) -> None:
    """Hostile headers end in `ForwardedCertificateError` and in nothing else."""
    with contextlib.suppress(ForwardedCertificateError):
        chain = PRESETS[preset].parse(values)
        assert all(der[0] == 0x30 for der in chain)


@each_proxy
def test_truncation_is_refused_everywhere(proxy: Proxy) -> None:
    """A header that a proxy's buffer cut short is no certificate."""
    ((name, value),) = proxy.forward(lonely().der_chain)
    # Envoy's element ends with names, whose loss nothing can show.
    end = value.index(b'";Chain') if proxy.preset == "envoy" else len(value)
    whole = read(proxy, [(name, value)])
    for length in range(1, end):
        with contextlib.suppress(ForwardedCertificateError):
            # The last line end may go, and in Client-Cert "::" stands for nothing; neither is another certificate.
            assert read(proxy, [(name, value[:length])]) == whole
            assert end - length <= len("%0A")


@each_preset
@pytest.mark.parametrize("value", [b"", b"  ", b"\t"])
def test_an_empty_header_is_no_certificate(preset: str, value: bytes) -> None:
    """As an absent one."""
    assert read_forwarded([(b"host", b"as.example")], preset=preset) is None
    assert read_forwarded([(default_header(preset), value)], preset=preset) is None


@each_proxy
def test_two_headers_are_refused(proxy: Proxy) -> None:
    """Never the first, never the last: one of them may be the client's own. Not even if one is empty."""
    headers = proxy.forward(lonely().der_chain)
    for other in (proxy.forward(victim().der_chain), headers, [(headers[0][0], b"")]):
        for both in ([*other, *headers], [*headers, *other]):
            assert fault_of(proxy.preset, *both) is ForwardingFault.REPEATED_HEADER


def test_two_chain_headers_are_refused() -> None:
    """Though a List could be split over lines: whoever split it was not our proxy."""
    chain = rfc9440(short_chain().der_chain)
    assert fault_of("rfc9440", *chain, chain[1]) is ForwardingFault.REPEATED_HEADER


@each_preset
@pytest.mark.parametrize("verdict", [b"SUCCESS", b"NONE", b"FAILED:self-signed certificate", b"failed", b"GENEROUS"])
def test_a_verdict_is_no_certificate(preset: str, verdict: bytes) -> None:
    """`$ssl_client_verify` in the place of the certificate proves nothing."""
    assert fault_of(preset, (default_header(preset), verdict)) is ForwardingFault.VERDICT_WITHOUT_CERTIFICATE


@each_preset
def test_more_than_64_kib_are_refused(preset: str) -> None:
    """Before anything is decoded."""
    header = default_header(preset)
    assert fault_of(preset, (header, b"A" * (MAX_FORWARDED_BYTES + 1))) is ForwardingFault.TOO_LARGE
    assert fault_of(preset, (header, b"A" * MAX_FORWARDED_BYTES)) is not ForwardingFault.TOO_LARGE


def test_both_headers_count() -> None:
    """64 KiB are for leaf and chain together."""
    headers = ((b"client-cert", b"A" * MAX_FORWARDED_BYTES), (b"client-cert-chain", b"A"))
    assert fault_of("rfc9440", *headers) is ForwardingFault.TOO_LARGE


@each_proxy
@pytest.mark.parametrize("octet", [b"\xc3\xbc", b"\x00", b"\x7f", b"\n", b"\x1b"])
def test_what_is_not_printable_ascii_is_refused(proxy: Proxy, octet: bytes) -> None:
    """No preset has such octets; decoders differ in what they make of them."""
    ((name, value),) = proxy.forward(lonely().der_chain)
    assert fault_of(proxy.preset, (name, value[:40] + octet + value[40:])) is ForwardingFault.NOT_ASCII


@pytest.mark.parametrize("proxy", [p for p in PROXIES.values() if p.forwards_chain], ids=lambda p: p.preset)
def test_more_than_ten_certificates_are_refused(proxy: Proxy) -> None:
    """Ten are what a handshake may bring, too."""
    chain = tuple(b"\x30\x01" + bytes([number]) for number in range(11))
    assert read(proxy, proxy.forward(chain[:10])) == chain[:10]
    with pytest.raises(ForwardedCertificateError) as caught:
        read(proxy, proxy.forward(chain))
    assert caught.value.fault is ForwardingFault.TOO_MANY_CERTIFICATES


@each_proxy
@pytest.mark.parametrize(
    "der",
    [b"\x30", b"\x30\x01", b"\x30\x00\x00", b"\x31\x00", b"\x30\x80\x00\x00", b"\x30\x81\x01\x00", b"junk"],
    ids=bytes.hex,
)
def test_what_is_not_a_der_sequence_is_refused(proxy: Proxy, der: bytes) -> None:
    """Exact length, definite and minimal."""
    assert fault_of(proxy.preset, *proxy.forward((der,))) is ForwardingFault.NOT_DER


@pytest.mark.parametrize(
    ("preset", "headers"),
    [
        ("rfc9440", [(b"client-cert-chain", b":MAA=:")]),
        ("rfc9440", [(b"client-cert", b""), (b"client-cert-chain", b":MAA=:")]),
        ("rfc9440", [(b"client-cert", b"::"), (b"client-cert-chain", b":MAA=:")]),
        ("haproxy", [(b"the-chain", b"MAA=")]),
        ("apache", [(b"the-chain", b"-----BEGIN CERTIFICATE----- MAA= -----END CERTIFICATE-----")]),
        (
            "apache",
            [
                (b"ssl_client_cert", b"(null)"),
                (b"the-chain", b"-----BEGIN CERTIFICATE----- MAA= -----END CERTIFICATE-----"),
            ],
        ),
    ],
)
def test_a_chain_without_a_leaf_is_refused(preset: str, headers: list[tuple[bytes, bytes]]) -> None:
    """RFC 9440 §2.3, and the same elsewhere: a CA's certificate must not move up to the place of the leaf."""
    names = {} if preset == "rfc9440" else {"chain_header": "The-Chain"}
    assert fault_of(preset, *headers, **names) is ForwardingFault.CHAIN_WITHOUT_LEAF


def test_names_are_configurable_in_any_case() -> None:
    """The configured header is read, and no other: the default one may be a client's forgery."""
    ((_, value),) = rfc9440(lonely().der_chain)
    forged = rfc9440(victim().der_chain)
    headers = [*forged, (b"x-edge-cert", value)]
    assert read_forwarded(headers, preset="rfc9440", header="X-Edge-Cert") == lonely().der_chain
    assert read_forwarded(forged, preset="rfc9440", header="X-Edge-Cert") is None


def test_similar_names_are_other_headers() -> None:
    """An underscore is no hyphen, and no white space is forgiven."""
    ((_, value),) = rfc9440(lonely().der_chain)
    for name in (b"client_cert", b"client-cert ", b"x-client-cert", b"Client-Cert"):
        assert read_forwarded([(name, value)], preset="rfc9440") is None


def test_mistakes_of_the_configuration() -> None:
    """They are not the client's, so they are another error."""
    with pytest.raises(ValueError, match="rfc9440, nginx"):
        read_forwarded([], preset="caddy")
    for preset in ("nginx", "envoy", "traefik", "aws-alb"):
        with pytest.raises(ValueError, match="no chain header"):
            read_forwarded([], preset=preset, chain_header="chain")


# rfc9440


@pytest.mark.parametrize("value", [b"MAA=", b":MAA:", b":MAA=", b":MAB=:", b":MAA=:;a", b":MAA=:, :MAA=:", b'"MAA="'])
def test_client_cert_is_one_byte_sequence(value: bytes) -> None:
    """RFC 9440 §2.2: no list, and truncated base64 is none."""
    assert fault_of("rfc9440", (b"client-cert", value)) is ForwardingFault.BROKEN_FIELD


def test_an_empty_byte_sequence_is_no_certificate() -> None:
    """What HAProxy writes without a condition on the rule."""
    assert read_forwarded([(b"client-cert", b"::")], preset="rfc9440") is None


def test_the_chain_does_not_repeat_the_leaf() -> None:
    """RFC 9440 §2.3."""
    ((_, value),) = rfc9440(lonely().der_chain)
    headers = ((b"client-cert", value), (b"client-cert-chain", value))
    assert fault_of("rfc9440", *headers) is ForwardingFault.CHAIN_MISMATCH


# PEM: nginx, apache, aws-alb


def nginx_value(text: str) -> tuple[bytes, bytes]:
    return b"x-ssl-client-cert", quote(text, safe="").encode()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("\n", ForwardingFault.BROKEN_PEM),
        ("junk\n{pem}", ForwardingFault.BROKEN_PEM),
        ("{pem}junk", ForwardingFault.BROKEN_PEM),
        (" {pem}", ForwardingFault.BROKEN_PEM),
        ("-----BEGIN CERTIFICATE-----\n", ForwardingFault.BROKEN_PEM),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", ForwardingFault.BROKEN_PEM),
        ("-----BEGIN CERTIFICATE-----\n\nMAA=\n-----END CERTIFICATE-----\n", ForwardingFault.BROKEN_PEM),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n", ForwardingFault.BROKEN_PEM),
        ("-----BEGIN CERTIFICATE-----MAA=-----END CERTIFICATE-----\n", ForwardingFault.BROKEN_PEM),
        ("-----BEGIN TRUSTED CERTIFICATE-----\nMAA=\n-----END TRUSTED CERTIFICATE-----\n", ForwardingFault.BROKEN_PEM),
        ("-----BEGIN CERTIFICATE-----\n{pem}", ForwardingFault.BROKEN_BASE64),
        ("-----BEGIN CERTIFICATE-----\nM AA=\n-----END CERTIFICATE-----\n", ForwardingFault.BROKEN_BASE64),
        ("-----BEGIN CERTIFICATE-----\nMAA\n-----END CERTIFICATE-----\n", ForwardingFault.BROKEN_BASE64),
        ("-----BEGIN CERTIFICATE-----\nMAB=\n-----END CERTIFICATE-----\n", ForwardingFault.BROKEN_BASE64),
        ("-----BEGIN CERTIFICATE-----\nMAA=\nMAA=\n-----END CERTIFICATE-----\n", ForwardingFault.BROKEN_BASE64),
        ("-----BEGIN CERTIFICATE-----\nMÄA=\n-----END CERTIFICATE-----\n", ForwardingFault.BROKEN_BASE64),
        ("{pem}{pem}", ForwardingFault.SEVERAL_CERTIFICATES),
    ],
)
def test_pem_is_exact(text: str, fault: ForwardingFault) -> None:
    """One block, nothing around it, nothing loose in it; and nginx never sends two."""
    assert fault_of("nginx", nginx_value(text.format(pem=pem(lonely().der)))) is fault


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_line_ends_and_the_last_of_them(line_end: str) -> None:
    """RFC 7468 §2: either line end; the last one may be missing."""
    text = pem(lonely().der).replace("\n", line_end)
    assert read_forwarded([nginx_value(text)], preset="nginx") == lonely().der_chain
    assert read_forwarded([nginx_value(text.rstrip())], preset="nginx") == lonely().der_chain


@pytest.mark.parametrize("preset", ["nginx", "aws-alb", "traefik"])
@pytest.mark.parametrize("value", [b"%", b"%2", b"%G0", b"%%", b"MAA=%"])
def test_broken_percent_encoding_is_refused(preset: str, value: bytes) -> None:
    """A percent sign is followed by two hexadecimal digits."""
    assert fault_of(preset, (default_header(preset), value)) is ForwardingFault.BROKEN_PERCENT_ENCODING


def test_a_form_decoder_on_the_way_breaks_it() -> None:
    """`+` is a plus sign; one that became a space is refused rather than guessed."""
    (header, value), *_ = PROXIES["aws-alb"].forward(lonely().der_chain)
    assert b"+" in value
    spoilt = quote(unquote_plus(value.decode()), safe="+=/").encode()
    with pytest.raises(ForwardedCertificateError):
        read_forwarded([(header, spoilt)], preset="aws-alb")


def test_apache_writes_null_for_unset_variables() -> None:
    """`(null)` is no certificate, alone, and at the end of a chain with a fixed number of places."""
    assert read_forwarded([(b"ssl_client_cert", b"(null)")], preset="apache") is None
    leaf, issuer, _ = short_chain().der_chain
    headers = [
        (b"ssl_client_cert", pem(leaf).replace("\n", " ").encode()),
        (b"chain", pem(issuer).replace("\n", " ").encode() + b" (null) (null)"),
    ]
    assert read_forwarded(headers, preset="apache", chain_header="chain") == (leaf, issuer)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("{pem} {pem}", ForwardingFault.SEVERAL_CERTIFICATES),
        ("-----BEGIN CERTIFICATE----- -----END CERTIFICATE-----", ForwardingFault.BROKEN_PEM),
        ("(null)x", ForwardingFault.BROKEN_PEM),
        ("x {pem}", ForwardingFault.BROKEN_PEM),
        ("{pem} x", ForwardingFault.BROKEN_PEM),
        ("-----BEGIN%20CERTIFICATE-----", ForwardingFault.BROKEN_PEM),
    ],
)
def test_apache_sends_one_leaf_and_no_junk(value: str, fault: ForwardingFault) -> None:
    """Spaces stand for line ends, and for nothing else."""
    spaced = pem(lonely().der).replace("\n", " ").strip()
    assert fault_of("apache", (b"ssl_client_cert", value.format(pem=spaced).encode())) is fault


def test_the_load_balancer_in_verify_mode() -> None:
    """The header of that mode is read if it is configured, and its sibling never is beside it."""
    value = quote(pem(lonely().der), safe="+=/").encode()
    leaf, whole = (b"x-amzn-mtls-clientcert-leaf", value), (b"x-amzn-mtls-clientcert", value)
    configured = {"header": "X-Amzn-Mtls-Clientcert-Leaf"}
    assert read_forwarded([leaf], preset="aws-alb", **configured) == lonely().der_chain
    assert fault_of("aws-alb", leaf) is ForwardingFault.REPEATED_HEADER
    assert fault_of("aws-alb", whole, **configured) is ForwardingFault.REPEATED_HEADER
    assert fault_of("aws-alb", whole, leaf) is ForwardingFault.REPEATED_HEADER


# haproxy, traefik


@pytest.mark.parametrize("value", [":MAA=:", "MAA", "MAB=", "MA A=", "MAA=,MAA=", "-----BEGIN CERTIFICATE-----"])
def test_haproxy_sends_plain_base64(value: str) -> None:
    """No colons, no list, no PEM, canonical."""
    assert fault_of("haproxy", (b"x-ssl-client-cert", value.encode())) is ForwardingFault.BROKEN_BASE64


def test_haproxy_chain_is_whole() -> None:
    """Concatenated encodings, of which the last may not be cut."""
    leaf, issuer, _ = short_chain().der_chain
    headers = ((b"x-ssl-client-cert", body(leaf).encode()), (b"chain", body(issuer[:-1]).encode()))
    assert fault_of("haproxy", *headers, chain_header="chain") is ForwardingFault.NOT_DER


@pytest.mark.parametrize("value", ["MAA=,", ",MAA=", "MAA=,,MAA=", "MAA=, MAA=", "MAA", "M+AA", "MAA%3D%0A"])
def test_traefik_sends_bodies_and_commas(value: str) -> None:
    """No empty member, no white space."""
    fault = fault_of("traefik", (b"x-forwarded-tls-client-cert", value.encode()))
    assert fault in {ForwardingFault.BROKEN_BASE64, ForwardingFault.NOT_DER}


def test_envoy_vector_is_awkward() -> None:
    """The subject of the vector has the escapes that the reader must step over."""
    ((_, value),) = envoy(long_chain().der_chain)
    assert rb"\"\C3\9Cn\C3\AFcode\"" in value
    assert rb"\;" in value
