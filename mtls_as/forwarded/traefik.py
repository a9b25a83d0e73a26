"""`traefik`: base64 of each certificate, leaf first, with a comma between them.

Traefik's PassTLSClientCert middleware with `pem: true` takes the armour and the newlines off the PEM. Up to 2.9.3 it
percent-encoded the rest, which leaves no plain `+`; since 2.9.4 (its issues 9379 and 9669) it does not. Both are read:
base64 has no percent sign. Traefik removes a header of this name that a client sends, in its entry points.
"""

from typing import Final

from mtls_as.forwarded.encodings import from_base64, from_percent_encoding
from mtls_as.forwarded.preset import Preset


def _decode(value: bytes, _chain: bytes) -> tuple[bytes, ...]:
    return tuple(from_base64(from_percent_encoding(part)) for part in value.split(b","))


PRESET: Final = Preset(headers=("x-forwarded-tls-client-cert",), decode=_decode)
