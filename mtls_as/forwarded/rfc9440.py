"""`rfc9440`: `Client-Cert` and `Client-Cert-Chain`, as RFC 9440 has them.

HAProxy writes the former as `:%[ssl_c_der,base64]:`, which is `::` without a certificate, unless the rule has a
condition. So an empty byte sequence is no certificate, as an absent field is.
"""

from typing import Final

from mtls_as.forwarded.fault import ForwardedCertificateError, ForwardingFault
from mtls_as.forwarded.preset import Preset, with_chain
from mtls_as.rfc.rfc9440_client_cert import (
    CLIENT_CERT,
    CLIENT_CERT_CHAIN,
    ClientCertFieldError,
    parse_client_cert,
    parse_client_cert_chain,
)


def _decode(value: bytes, chain_value: bytes) -> tuple[bytes, ...]:
    try:
        leaf, chain = parse_client_cert(value), parse_client_cert_chain(chain_value)
    except ClientCertFieldError as error:
        raise ForwardedCertificateError(ForwardingFault.BROKEN_FIELD, str(error)) from None
    if leaf in chain:  # §2.3: the chain does not include the leaf
        raise ForwardedCertificateError(ForwardingFault.CHAIN_MISMATCH, "the chain repeats the leaf")
    return with_chain(leaf, chain)


PRESET: Final = Preset(headers=(CLIENT_CERT,), chain_header=CLIENT_CERT_CHAIN, takes_chain_header=True, decode=_decode)
