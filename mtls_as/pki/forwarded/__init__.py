"""Certificates that a TLS-terminating proxy forwards in a header: from the proxy's own form to a DER chain.

Pure parsing. That the header comes from the proxy and not from the client is proven by the hop, before this; that the
certificate may be trusted is decided after this, as for a direct connection (`mtls_as.pki.presented`, `trust_domains`).
"""

from mtls_as.pki.forwarded.fault import ForwardedCertificateError, ForwardingFault
from mtls_as.pki.forwarded.preset import MAX_FORWARDED_BYTES, Preset
from mtls_as.pki.forwarded.presets import PRESETS
from mtls_as.pki.forwarded.reading import read_forwarded

__all__ = [
    "MAX_FORWARDED_BYTES",
    "PRESETS",
    "ForwardedCertificateError",
    "ForwardingFault",
    "Preset",
    "read_forwarded",
]
