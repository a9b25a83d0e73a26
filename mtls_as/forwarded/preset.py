"""What a preset is: the headers of one proxy, and the bounds and checks that all of them share."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mtls_as.forwarded.fault import ForwardedCertificateError, ForwardingFault
from mtls_as.rfc.rfc5280_certificate import MAX_CHAIN
from mtls_as.rfc.x690_der import SEQUENCE, DERError, read_element

MAX_FORWARDED_BYTES: Final = 64 * 1024

_PRINTABLE: Final = re.compile(rb"[\t\x20-\x7e]*")
# $ssl_client_verify of nginx, SSL_CLIENT_VERIFY of Apache; an operator took the wrong variable, or trusts the verdict.
_VERDICT: Final = re.compile(rb"(?:SUCCESS|NONE|GENEROUS|FAILED(?::.*)?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How one proxy forwards a certificate."""

    headers: tuple[str, ...]
    """Lower case. The first is read by default. The others are its siblings: a request never has two of them."""
    chain_header: str | None = None
    """Lower case: the header with the rest of the chain that is read by default."""
    takes_chain_header: bool = False
    """Whether the rest of the chain may come in a header of its own, whatever its name."""
    decode: Callable[[bytes, bytes], tuple[bytes, ...]]
    """From the values of both headers, the second empty if there is none, to DER. `parse` adds the checks."""

    def parse(self, values: Sequence[bytes]) -> tuple[bytes, ...]:
        """The chain, DER, leaf first: ten certificates at most, or none if the proxy's form says that there is none.

        `values` are the value of the header and, if it came, that of the chain header. Each certificate is a DER
        SEQUENCE that ends where it should; whether it is a certificate is for `mtls_as.pki.presented.present` to say.
        Raises `ForwardedCertificateError` alone.
        """
        certificate, chain = _checked(values)
        if not certificate:
            if chain:
                raise ForwardedCertificateError(ForwardingFault.CHAIN_WITHOUT_LEAF, "a chain came without its leaf")
            return ()
        decoded = self.decode(certificate, chain)
        if len(decoded) > MAX_CHAIN:
            raise ForwardedCertificateError(
                ForwardingFault.TOO_MANY_CERTIFICATES, f"more than {MAX_CHAIN} certificates"
            )
        for encoding in decoded:
            _check_der(encoding)
        return decoded


def with_chain(leaf: bytes, chain: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Leaf and chain, where the proxy sends them apart; no leaf and no chain is no certificate."""
    if leaf:
        return (leaf, *chain)
    if chain:
        raise ForwardedCertificateError(ForwardingFault.CHAIN_WITHOUT_LEAF, "a chain came without its leaf")
    return ()


def _checked(values: Sequence[bytes]) -> tuple[bytes, bytes]:
    if sum(map(len, values)) > MAX_FORWARDED_BYTES:
        raise ForwardedCertificateError(ForwardingFault.TOO_LARGE, f"more than {MAX_FORWARDED_BYTES} bytes")
    if not all(map(_PRINTABLE.fullmatch, values)):
        raise ForwardedCertificateError(ForwardingFault.NOT_ASCII, "the value is not printable ASCII")
    certificate, chain = (*(value.strip(b" \t") for value in values), b"", b"")[:2]
    if _VERDICT.fullmatch(certificate):
        raise ForwardedCertificateError(
            ForwardingFault.VERDICT_WITHOUT_CERTIFICATE, "a verdict of the proxy stands where its certificate should"
        )
    return certificate, chain


def _check_der(encoding: bytes) -> None:
    try:
        read_element(encoding, SEQUENCE)
    except DERError as error:
        raise ForwardedCertificateError(ForwardingFault.NOT_DER, str(error)) from None
