"""`haproxy`: base64 of the DER of the leaf, without colons.

HAProxy configuration manual, `ssl_c_der` and the converter `base64`. `ssl_c_chain_der` (since 2.2) holds the
intermediates that the client sent, one DER encoding after the other, without the leaf; base64 of that goes into a chain
header. It is empty on a resumed session.
"""

from typing import Final

from mtls_as.forwarded.encodings import from_base64
from mtls_as.forwarded.fault import ForwardedCertificateError, ForwardingFault
from mtls_as.forwarded.preset import Preset, with_chain
from mtls_as.rfc.x690_der import DERError, read_elements


def _decode(value: bytes, chain_value: bytes) -> tuple[bytes, ...]:
    return with_chain(from_base64(value), _concatenated(from_base64(chain_value)))


def _concatenated(encodings: bytes) -> tuple[bytes, ...]:
    try:
        return tuple(element.encoding for element in read_elements(encodings, limit=len(encodings)))
    except DERError as error:
        raise ForwardedCertificateError(ForwardingFault.NOT_DER, str(error)) from None


PRESET: Final = Preset(headers=("x-ssl-client-cert",), takes_chain_header=True, decode=_decode)
