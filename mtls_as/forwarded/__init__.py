"""Certificates that a TLS-terminating proxy forwards in a header: from the proxy's own form to a DER chain.

Pure parsing. That the header comes from the proxy and not from the client is proven by the hop, before this
(`TrustedProxy` does both); that the certificate may be trusted is decided after this, as for a direct connection
(`mtls_as.pki.presented`, `trust_domains`).
"""

from mtls_as.forwarded.fault import ForwardedCertificateError, ForwardingFault
from mtls_as.forwarded.hop import Hop, HopError, ListedHop, PinnedHop, SocketHop
from mtls_as.forwarded.preset import MAX_FORWARDED_BYTES, Preset
from mtls_as.forwarded.presets import PRESETS
from mtls_as.forwarded.proxy import CERTIFICATE_HEADERS, TrustedProxy
from mtls_as.forwarded.reading import read_forwarded

__all__ = [
    "CERTIFICATE_HEADERS",
    "MAX_FORWARDED_BYTES",
    "PRESETS",
    "ForwardedCertificateError",
    "ForwardingFault",
    "Hop",
    "HopError",
    "ListedHop",
    "PinnedHop",
    "Preset",
    "SocketHop",
    "TrustedProxy",
    "read_forwarded",
]
