"""One proxy: how it proves itself, and how it forwards certificates. Nobody else's headers are read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from mtls_as.forwarded.hop import Hop
from mtls_as.forwarded.presets import PRESETS
from mtls_as.forwarded.reading import read_forwarded

Headers = Sequence[tuple[bytes, bytes]]

CERTIFICATE_HEADERS: Final = frozenset(
    name.encode() for preset in PRESETS.values() for name in (*preset.headers, preset.chain_header) if name is not None
)
"""Every header that some preset reads by default, in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedProxy:
    """A proxy that is configured. Raises `ValueError` for an unknown preset, or a chain header where it has none."""

    hop: Hop
    preset: str
    header: str | None = None
    chain_header: str | None = None
    headers: frozenset[bytes] = field(init=False)
    """The names that are read, in lower case."""

    def __post_init__(self) -> None:
        read_forwarded((), preset=self.preset, header=self.header, chain_header=self.chain_header)
        rules = PRESETS[self.preset]
        certificate = (self.header or rules.headers[0]).lower()
        chain = (self.chain_header or rules.chain_header or "").lower()
        if certificate == chain:
            raise ValueError("the chain header is that of the certificate itself")
        object.__setattr__(self, "headers", frozenset(name.encode() for name in (certificate, chain) if name))

    def read(self, headers: Headers, *, peer: str | None, der_chain: Sequence[bytes]) -> tuple[bytes, ...] | None:
        """The chain that this proxy forwarded, DER, leaf first; None if its client presented none.

        `headers` are the request's, names in lower case; `peer` is the address that the connection comes from, None on
        a unix socket, and `der_chain` what the peer presented in its own handshake. Raises `HopError` if that is not
        the proxy, whatever the headers hold, and `ForwardedCertificateError` for what it cannot have sent.
        """
        self.hop.check(peer=peer, der_chain=der_chain)
        return read_forwarded(headers, preset=self.preset, header=self.header, chain_header=self.chain_header)
