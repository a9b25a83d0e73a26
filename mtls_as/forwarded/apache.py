"""`apache`: PEM with its newlines turned into spaces.

mod_headers replaces the line ends of a variable by spaces (`%{SSL_CLIENT_CERT}s` of mod_ssl), and writes `(null)` for
one that is unset. `SSL_CLIENT_CERT_CHAIN_0`, `_1` … hold the intermediates that the client sent, in order; a chain
header has them one after the other, with a space between.
"""

from typing import Final

from mtls_as.forwarded.encodings import BEGIN, END, pem_certificates, single
from mtls_as.forwarded.preset import Preset, with_chain

_UNSET: Final = b"(null)"


def _decode(value: bytes, chain_value: bytes) -> tuple[bytes, ...]:
    leaf = _certificates(value)
    return with_chain(single(leaf)[0] if leaf else b"", _certificates(chain_value))


def _certificates(value: bytes) -> tuple[bytes, ...]:
    text = value.replace(b" ", b"\n")
    for armour in (BEGIN, END):  # which has a space of its own
        text = text.replace(armour.replace(b" ", b"\n"), armour)
    lines = [line for line in text.split(b"\n") if line != _UNSET]
    return tuple(pem_certificates(b"\n".join(lines))) if any(lines) else ()


PRESET: Final = Preset(headers=("ssl_client_cert",), takes_chain_header=True, decode=_decode)
