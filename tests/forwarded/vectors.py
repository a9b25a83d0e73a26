"""Golden vectors: a chain, and the headers each proxy would make of it by its own rules, written independently."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

from cryptography import x509

from tests.authority import Authority, Identity, name, self_signed

AWKWARD = name('Zoë, of "Ünïcode" + Söhne; = München', country="DE", organization="Acme, Inc.", unit="Größe/Ölfarbe")

Headers = list[tuple[bytes, bytes]]


@cache
def long_chain() -> Identity:
    """Nine CAs above the leaf, which has an awkward DN, and `+`, `/` and `=` in its base64."""
    authority = Authority.create("Root")
    for level in range(8):
        authority = Authority.create(f"Level {level}", parent=authority)
    return with_every_character(lambda: authority.issue(AWKWARD))


@cache
def short_chain() -> Identity:
    """An intermediate and a root."""
    authority = Authority.create("Issuing CA", parent=Authority.create("Root"))
    return with_every_character(lambda: authority.issue(AWKWARD))


@cache
def lonely() -> Identity:
    """Self-signed, so that no chain comes with it."""
    return with_every_character(lambda: self_signed("lonely"))


@cache
def victim() -> Identity:
    """Somebody else, whose certificate is as public as all certificates."""
    return with_every_character(lambda: self_signed("victim"))


def with_every_character(make: Callable[[], Identity]) -> Identity:
    """Make certificates until the base64 of one has the characters that encodings trip over."""
    while True:
        identity = make()
        if {"+", "/", "="} <= set(body(identity.der)):
            return identity


def body(der: bytes) -> str:
    return b64encode(der).decode()


def pem(der: bytes) -> str:
    lines = re.findall(".{1,64}", body(der))
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def pem_chain(chain: tuple[bytes, ...]) -> str:
    return "".join(map(pem, chain))


def rfc9440(chain: tuple[bytes, ...]) -> Headers:
    leaf, *rest = (f":{body(der)}:".encode() for der in chain)
    return [(b"client-cert", leaf), *([(b"client-cert-chain", b", ".join(rest))] if rest else [])]


def nginx(chain: tuple[bytes, ...]) -> Headers:
    """NGX_ESCAPE_URI_COMPONENT: all but the unreserved characters, upper-case digits."""
    return [(b"x-ssl-client-cert", quote(pem(chain[0]), safe="").encode())]


def apache(chain: tuple[bytes, ...]) -> Headers:
    """Line ends become spaces; the server strips the last."""
    spaced = [pem(der).replace("\n", " ") for der in chain]
    headers = [(b"ssl_client_cert", spaced[0].strip().encode())]
    return [*headers, (b"ssl_client_cert_chain", " ".join(spaced[1:]).strip().encode())] if spaced[1:] else headers


def haproxy(chain: tuple[bytes, ...]) -> Headers:
    headers = [(b"x-ssl-client-cert", body(chain[0]).encode())]
    return [*headers, (b"x-ssl-client-chain", body(b"".join(chain[1:])).encode())] if chain[1:] else headers


def xfcc_text(text: str) -> str:
    """absl::StrReplaceAll in Envoy's connection_info_impl_base.cc."""
    for character, escape in {"\n": "%0A", " ": "%20", "+": "%2B", "/": "%2F", "=": "%3D"}.items():
        text = text.replace(character, escape)
    return text


def xfcc(
    chain: tuple[bytes, ...], *, subject: str = "", uris: tuple[str, ...] = ("spiffe://partner.example/a",)
) -> str:
    """One element, in the order of Envoy's `mutateXfccRequestHeader`, URIs unescaped as there."""
    pairs = [
        "By=spiffe://proxy.example/envoy",
        f"Hash={hashlib.sha256(chain[0]).hexdigest()}",
        f'Cert="{xfcc_text(pem(chain[0]))}"',
        f'Chain="{xfcc_text(pem_chain(chain))}"',
        f'Subject="{subject}"',
        *(f"URI={uri}" for uri in uris),
        "DNS=a.example",
        "DNS=b.example",
    ]
    return ";".join(pairs)


def envoy(chain: tuple[bytes, ...]) -> Headers:
    return [(b"x-forwarded-client-cert", xfcc(chain, subject=rfc2253_subject(chain[0])).encode())]


def rfc2253_subject(der: bytes) -> str:
    """As OpenSSL's XN_FLAG_RFC2253 prints it: `,`, `;`, `"`, `+` and all octets above 127 escaped."""
    try:
        subject = x509.load_der_x509_certificate(der).subject
    except ValueError:
        return ""
    return ",".join(
        attribute.rfc4514_attribute_name + "=" + "".join(map(rfc2253_octet, str(attribute.value).encode()))
        for attribute in reversed(list(subject))
    )


def rfc2253_octet(octet: int) -> str:
    if octet > 127:
        return f"\\{octet:02X}"
    return f"\\{chr(octet)}" if chr(octet) in ',+"\\<>;' else chr(octet)


def traefik(chain: tuple[bytes, ...]) -> Headers:
    """Since 2.9.4."""
    return [(b"x-forwarded-tls-client-cert", ",".join(map(body, chain)).encode())]


def traefik_before(chain: tuple[bytes, ...]) -> Headers:
    """Up to 2.9.3: Go's url.QueryEscape on each body."""
    return [(b"x-forwarded-tls-client-cert", ",".join(quote(body(der), safe="") for der in chain).encode())]


def aws_alb(chain: tuple[bytes, ...]) -> Headers:
    """`+`, `=` and `/` are "safe characters"."""
    return [(b"x-amzn-mtls-clientcert", quote(pem_chain(chain), safe="+=/").encode())]


@dataclass(frozen=True)
class Proxy:
    """How to forge the headers of one proxy, and how to read them."""

    preset: str
    forward: Callable[[tuple[bytes, ...]], Headers]
    chain_header: str | None = None
    forwards_chain: bool = True


PROXIES = {
    "rfc9440": Proxy("rfc9440", rfc9440),
    "nginx": Proxy("nginx", nginx, forwards_chain=False),
    "apache": Proxy("apache", apache, chain_header="SSL_CLIENT_CERT_CHAIN"),
    "haproxy": Proxy("haproxy", haproxy, chain_header="X-SSL-Client-Chain"),
    "envoy": Proxy("envoy", envoy),
    "traefik": Proxy("traefik", traefik),
    "traefik-2.9.3": Proxy("traefik", traefik_before),
    "aws-alb": Proxy("aws-alb", aws_alb),
}
