"""`envoy`: the last element of `X-Forwarded-Client-Cert`.

Envoy, "HTTP header manipulation", x-forwarded-client-cert: elements with a comma between them, one for each hop; in an
element `Key=value` with semicolons, keys in any case, values in quotation marks where they hold `,`, `;` or `=`, and
`\\"` inside them. Wanted of Envoy: `set_current_client_cert_details` with `cert: true`, and `chain: true` for the
intermediates; its chain begins with the leaf. `Hash` is always there: the SHA-256 of the certificate, in hexadecimal.

The last element is our own proxy's. With `APPEND_FORWARD` everything before it is whatever the client sent; with
`SANITIZE_SET`, which is the better choice, there is nothing before it. Two attacks decide how this is read:

- A client sends the beginning of an element with an open quotation mark, so that the boundary of the last element ends
  up inside a value. The value then closes at the first mark of our own proxy's element, where a value begins. So the
  whole header is parsed, nothing but `;`, `,` or the end may follow a closing mark, and no value may hold an element.
- Envoy writes URI and DNS names of the certificate as they are (`mutateXfccRequestHeader`: special characters are not
  handled). A name such as `a,Hash=…;Cert="…"` in a certificate that its holder made adds an element after the proxy's
  own, with somebody else's certificate. So each earlier element must show its certificate, too, and the text of the
  last one must not stand in it. Inside one element, a second `Hash` or `Cert` is refused.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from hmac import compare_digest
from typing import Final

from mtls_as.forwarded.encodings import from_percent_encoded_pem, single
from mtls_as.forwarded.fault import ForwardedCertificateError, ForwardingFault
from mtls_as.forwarded.preset import Preset

_PAIR: Final = re.compile(
    rb"(?P<key>[A-Za-z][A-Za-z0-9_-]*+)="
    rb'(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<plain>[^",;\\ \t]*+))'
    rb"(?P<end>;|[ \t]*,[ \t]*|\Z)"
)
# Envoy repeats the others, once for each name.
_ONCE: Final = frozenset({b"hash", b"cert", b"chain", b"subject"})

# Every element of Envoy's has this; a value that holds one has swallowed an element.
_SWALLOWED: Final = re.compile(rb"hash=[0-9a-f]{64}", re.IGNORECASE)

Element = Mapping[bytes, bytes]


def _decode(value: bytes, _chain: bytes) -> tuple[bytes, ...]:
    *earlier, last = _elements(value)
    leaf = _certificate(last)
    for element in earlier:
        if last[b"cert"] in _certificate(element):
            raise ForwardedCertificateError(ForwardingFault.FORGED_ELEMENT, "a certificate holds the last element")
    _check_hash(last, leaf)
    chain = from_percent_encoded_pem(last[b"chain"]) if last.get(b"chain") else (leaf,)
    if chain[0] != leaf:
        raise ForwardedCertificateError(ForwardingFault.CHAIN_MISMATCH, "Chain does not begin with Cert")
    return chain


def _elements(value: bytes) -> list[Element]:
    """The elements, keys in lower case, values between their quotation marks as they stand."""
    elements: list[Element] = []
    element: dict[bytes, bytes] = {}
    for pair in _pairs(value):
        key = pair["key"].lower()
        if key in _ONCE and key in element:
            raise ForwardedCertificateError(ForwardingFault.BROKEN_FIELD, "an element repeats a key")
        element[key] = pair["plain"] if pair["quoted"] is None else pair["quoted"]
        if _SWALLOWED.search(element[key]):
            raise ForwardedCertificateError(ForwardingFault.FORGED_ELEMENT, "a value holds another element")
        if pair["end"] != b";":
            elements.append(element)
            element = {}
    return elements


def _pairs(value: bytes) -> Iterator[re.Match[bytes]]:
    """The pairs, which fill the value exactly: none is empty, none is left open."""
    position, end = 0, b","
    while end:
        pair = _PAIR.match(value, position)
        if pair is None:
            raise ForwardedCertificateError(ForwardingFault.BROKEN_FIELD, "not pairs of a key and a value")
        position, end = pair.end(), pair["end"]
        yield pair


def _certificate(element: Element) -> bytes:
    if not element.get(b"cert"):
        raise ForwardedCertificateError(ForwardingFault.CERTIFICATE_MISSING, "an element has no Cert")
    return single(from_percent_encoded_pem(element[b"cert"]))[0]


def _check_hash(element: Element, leaf: bytes) -> None:
    claimed = element.get(b"hash")
    if not claimed:
        raise ForwardedCertificateError(ForwardingFault.HASH_MISSING, "the element has no Hash")
    if not compare_digest(claimed.lower(), hashlib.sha256(leaf).hexdigest().encode()):
        raise ForwardedCertificateError(ForwardingFault.HASH_MISMATCH, "Hash is not the digest of Cert")


PRESET: Final = Preset(headers=("x-forwarded-client-cert",), decode=_decode)
